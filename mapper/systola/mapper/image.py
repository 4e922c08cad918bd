"""What the compiler hands to a device: memory contents, programs, and where each tensor lies.

An image is a sequence of steps: programs for the accelerator and nodes for the host. Its memory is one range of DRAM;
all addresses are byte offsets in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from systola.hw.isa import ENGINES, Engine, Instruction, Opcode
from systola.mapper.instruction_tables import Column, Table, column_numbers, instructions_of
from systola.mapper.layout import Layout
from systola.mapper.quantgraph import Node, QuantTensor

__all__ = ["HostStep", "Image", "LayerInfo", "Occupancy", "Placed", "ProgramStep", "Step", "Stream"]


@dataclass(frozen=True)
class Placed:
    """A tensor that reaches DRAM: ``address`` in bytes, ``shape`` as NNEF has it. A part of a concatenation lies in the whole.

    """

    name: str
    address: int
    layout: Layout
    shape: tuple[int, ...]

    def read(self, memory: NDArray[np.uint8]) -> NDArray[np.int8]:
        """The tensor's codes from DRAM, in NNEF's shape."""
        return self.layout.unpack(memory[self.address : self.address + self.layout.bytes], self.shape)

    def write(self, memory: NDArray[np.uint8], codes: NDArray[np.int8]) -> None:
        """Put the tensor's codes into DRAM."""
        memory[self.address : self.address + self.layout.bytes] = self.layout.pack(codes)


@dataclass(frozen=True)
class Occupancy:
    """How much of what an engine handles at a time a layer fills; the rest is waste at the edges.

    ``channels``: of the output. On the array: ``tiles``: weight tiles of rows × columns that make up its weights, kernel
    positions included; ``rows``: rows of these tiles that carry an input channel which an output of the tile needs, in all;
    ``weights``: the weights that the network has.
    """

    channels: int = 0
    tiles: int = 0
    rows: int = 0
    weights: int = 0


@dataclass(frozen=True)
class LayerInfo:
    """What a layer is, for reports. ``tag`` is in its instructions' headers.

    ``macs``: multiply-accumulates of the network's definition (not of padding lanes). ``unit``: "array", "vector" or "host".
    ``output`` and ``nodes`` name the tensor and the quantized graph's nodes it makes.
    """

    tag: int
    name: str
    unit: str
    kind: str
    macs: int
    output: str
    nodes: tuple[str, ...]
    shape: tuple[int, ...]
    note: str = ""
    occupancy: Occupancy = Occupancy()


@dataclass(frozen=True)
class Stream:
    """The instructions of one engine, then END, then zeros: ``bytes`` bytes of the image's memory at ``address``."""

    address: int
    bytes: int


@dataclass(frozen=True, eq=False)
class ProgramStep:
    """A program of the accelerator. ``streams``, ``tables``: of each engine that has instructions.

    ``engines``: of each instruction, in an order of all of them in which every wait names an earlier one.
    """

    streams: Mapping[Engine, Stream]
    engines: Column = field(default_factory=lambda: np.zeros(0, np.int64))
    tables: Mapping[Engine, Table] = field(default_factory=dict)

    def table(self, engine: Engine) -> Table:
        """An engine's instructions in order, without END: a row for each, a column for each field, header first, in the ISA's
        order."""
        opcode = Opcode(engine + 1)
        return self.tables[engine] if engine in self.tables else np.zeros((0, len(column_numbers(opcode))), np.int64)

    @cached_property
    def _decoded(self) -> Mapping[Engine, tuple[Instruction, ...]]:
        return {engine: tuple(instructions_of(Opcode(engine + 1), self.table(engine))) for engine in ENGINES}

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """All instructions, decoded, without END, in the order of ``engines``."""
        following = {engine: iter(own) for engine, own in self._decoded.items()}
        return tuple(next(following[ENGINES[engine]]) for engine in self.engines.tolist())

    @property
    def bytes(self) -> int:
        """Bytes of all streams."""
        return sum(stream.bytes for stream in self.streams.values())

    def of_engine(self, engine: Engine) -> tuple[Instruction, ...]:
        """An engine's instructions, in order."""
        return self._decoded[engine]

    def registers(self) -> dict[str, int]:
        """The registers that name the streams, with their values."""
        values = {}
        for engine in ENGINES:
            stream = self.streams.get(engine, Stream(0, 0))
            values[f"STREAM_ADDRESS_{engine.name}"] = stream.address
            values[f"STREAM_BYTES_{engine.name}"] = stream.bytes
        return values


@dataclass(frozen=True)
class HostStep:
    """A node computed on the host: inputs are read from DRAM (or kept as float), outputs written to it.

    ``tensors``: scales, and data of constants, of the node's inputs and outputs.
    """

    node: Node
    tag: int
    reason: str
    tensors: Mapping[str, QuantTensor]


Step = ProgramStep | HostStep


@dataclass(frozen=True)
class Image:
    """A compiled network.

    ``fingerprint``: of the hardware it is for. ``make_memory`` makes ``memory``; ``memory_bytes``: the DRAM range in all.
    ``tensors``: every tensor that reaches DRAM, by name. ``inputs``/``outputs``: names in the graph's order.
    """

    name: str
    fingerprint: int
    lanes: int
    make_memory: Callable[[], NDArray[np.uint8]]
    memory_bytes: int
    steps: tuple[Step, ...]
    tensors: Mapping[str, Placed]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[LayerInfo, ...]

    @cached_property
    def memory(self) -> NDArray[np.uint8]:
        """Initial bytes of the DRAM from offset 0, up to the last that is not zero; made when first asked for."""
        return self.make_memory()
