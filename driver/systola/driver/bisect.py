"""Where two backends part: the first wrong layer, tile, element and cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systola.driver.open import open_device, rtl_settings
from systola.driver.runtime import Runtime
from systola.hw.isa import Instruction, Opcode
from systola.hw.params import Params
from systola.mapper.compile import compile_network
from systola.mapper.image import Image, Placed, ProgramStep
from systola.mapper.quantgraph import QuantGraph
from systola.sim.golden import run_golden
from systola.sim.rtl.settings import WaveformWindow

__all__ = ["Difference", "find_difference"]

WINDOW_CYCLES = 2000


@dataclass(frozen=True)
class Difference:
    """The first wrong element. ``element``: its index in NNEF's shape; ``store``: which store instruction wrote it (from 0, of
    its program); ``cycle``: when its burst reached memory (None without time); ``wrong``: wrong elements of the tensor in all."""

    layer: str
    tensor: str
    element: tuple[int, ...]
    expected: int
    found: int
    wrong: int
    program: int
    store: int | None
    cycle: int | None

    def __str__(self) -> str:
        """One paragraph."""
        tile = "" if self.store is None else f", tile {self.store} of its program's stores"
        when = "" if self.cycle is None else f", written in cycle {self.cycle} of program {self.program}"
        return (
            f"the first difference from golden is in layer '{self.layer}', tensor '{self.tensor}', element "
            f"{list(self.element)}{tile}{when}: expected {self.expected}, found {self.found}; "
            f"{self.wrong} elements of the tensor are wrong"
        )


def find_difference(
    graph: QuantGraph,
    params: Params,
    inputs: Mapping[str, NDArray[np.int8]],
    backend: str,
    waveform: Path | None = None,
    *,
    board: str | None = None,
) -> Difference | None:
    """Run one sample (codes in NNEF's shapes) with every tensor sent to memory, and find the first wrong element.

    ``waveform``: write a waveform of the cycles around it there. ``board``: which one, for the backend "board". Returns None if
    nothing is wrong when every tensor goes to memory.
    """
    image = compile_network(graph, params, keep_on_chip=False)
    expected = {k: v[0] for k, v in run_golden(graph, {n: c[None] for n, c in inputs.items()}, keep=True).items()}
    difference = _run(image, params, inputs, expected, backend, None, None, board)
    if difference is not None and difference.cycle is not None and waveform is not None:
        window = WaveformWindow(max(0, difference.cycle - WINDOW_CYCLES), difference.cycle + WINDOW_CYCLES, difference.program)
        _run(image, params, inputs, expected, backend, window, waveform, board)
    return difference


def _run(
    image: Image,
    params: Params,
    inputs: Mapping[str, NDArray[np.int8]],
    expected: Mapping[str, NDArray[Any]],
    backend: str,
    window: WaveformWindow | None,
    waveform: Path | None,
    board: str | None,
) -> Difference | None:
    settings = rtl_settings(params, trace=False, trace_writes=True, waveform=window)
    with open_device(backend, params, image.memory_bytes, settings, waveform_file=waveform, board=board) as device:
        runtime = Runtime(device, image, params)
        runtime.infer(inputs, counters=False)
        for layer in image.layers:
            name = layer.output
            if name not in image.tensors or name not in expected:
                continue
            found = runtime.tensor(name)
            wrong = np.argwhere(found != expected[name])
            if len(wrong):
                element = tuple(int(i) for i in wrong[0])
                program, store, address = _writer(image, image.tensors[name], element, params)
                cycle = _cycle(device, program, address)
                codes = int(expected[name][element]), int(found[element])
                return Difference(layer.name, name, element, *codes, len(wrong), program, store, cycle)
    return None


def _writer(image: Image, placed: Placed, element: tuple[int, ...], params: Params) -> tuple[int, int | None, int]:
    """(program, store instruction, byte address) of an element."""
    probe = np.zeros(placed.shape, dtype=np.int8)
    probe[element] = 1
    address = placed.address + int(np.flatnonzero(placed.layout.pack(probe))[0])
    programs = [step for step in image.steps if isinstance(step, ProgramStep)]
    found: tuple[int, int | None, int] = (0, None, address)
    for number, step in enumerate(programs):
        stores = [i for i in step.instructions if i.opcode is Opcode.STORE]
        for index, store in enumerate(stores):
            if _covers(store, address, params.lanes):
                found = (number, index, address)
    return found


def _covers(store: Instruction, address: int, lanes: int) -> bool:
    offset = address - store["dram_address"]
    rows = np.arange(store["count_y"]) * store["dram_stride_y"] + np.arange(store["count_z"])[:, None] * store["dram_stride_z"]
    return bool(np.any((rows <= offset) & (offset < rows + store["count_x"] * lanes)))


def _cycle(device: Any, program: int, address: int) -> int | None:
    """The cycle in which the last burst over an address reached memory."""
    if not hasattr(device, "write_trace"):
        return None
    writes = device.write_trace()
    hit = (writes["run"] == program) & (writes["address"] <= address) & (address < writes["address"] + writes["length_bytes"])
    return int(writes["last_cycle"][hit][-1]) if np.any(hit) else None
