"""The compiler, end to end: QuantGraph → layers → plan → work → instructions → image."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
from numpy.typing import NDArray

from systola.hw.errors import MappingError
from systola.hw.isa import UNIT_BYTES, Engine, Instruction, Opcode, encode, instruction_units
from systola.hw.params import Params
from systola.mapper.array_schedule import array_steps
from systola.mapper.fused_schedule import fused_steps
from systola.mapper.hazards import dependencies
from systola.mapper.image import HostStep, Image, LayerInfo, ProgramStep, Stream
from systola.mapper.image import Step as ImageStep
from systola.mapper.instruction_tables import Table, instructions_of
from systola.mapper.layers import ArrayLayer, HostLayer, Layer, Lowered, VectorLayer
from systola.mapper.lower import lower
from systola.mapper.memory import Dram
from systola.mapper.occupancy import occupancy
from systola.mapper.operations import Space, Work
from systola.mapper.planning import make_plan
from systola.mapper.program import make_program
from systola.mapper.quantgraph import Conv, Host, QuantGraph
from systola.mapper.reorder import reorder
from systola.mapper.schedule import Context, Step, after_layer, flatten
from systola.mapper.vector_schedule import vector_steps
from systola.mapper.verify import verify_image
from systola.mapper.waits import Ordered, place_waits

__all__ = ["compile_network"]

MAX_DRAM_BYTES = 1 << 32


def compile_network(graph: QuantGraph, params: Params, *, keep_on_chip: bool = True, contents: bool = True) -> Image:
    """The image of a quantized network for one accelerator.

    ``keep_on_chip=False`` makes every layer's output reach DRAM: slower, and every tensor can be compared.
    ``contents=False`` leaves the bytes of the memory to be made when they are asked for. Raises MappingError where the network
    does not fit the accelerator.
    """
    with _no_collection():
        return _compiled(graph, params, keep_on_chip=keep_on_chip, contents=contents)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without Python's search for unused cycles of objects: it would go through all instructions again and again in vain."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _compiled(graph: QuantGraph, params: Params, *, keep_on_chip: bool, contents: bool) -> Image:
    net = lower(graph, params)
    plan = make_plan(net, params, keep_on_chip=keep_on_chip)
    context = Context(net, params, plan, Dram(net, params))
    segments = list(_segments(context))
    _place_tensors(context)
    sizes = {
        Space.SCRATCHPAD: params.scratchpad_words,
        Space.DRAM: context.dram.used_bytes // params.lanes,
    }
    steps: list[ImageStep] = []
    for segment in segments:
        if isinstance(segment, HostStep):
            steps.append(replace(segment, node=context.dram.nodes.get(segment.node.name, segment.node)))
        else:
            program = make_program(segment)
            order = reorder(program, dependencies(program, sizes), params)
            steps.extend(_program(context, ordered) for ordered in place_waits(program, order, params))
    return _image(context, tuple(steps), params, contents=contents)


def _segments(context: Context) -> Iterator[list[Work] | HostStep]:
    """Work of consecutive accelerator layers, and host layers, in order."""
    pending: list[Step] = []
    groups = count()
    for tag, (layer, plan) in enumerate(zip(context.net.layers, context.plan.layers, strict=True)):
        if isinstance(layer, HostLayer):
            if pending:
                yield list(flatten(iter(pending)))
                pending = []
            yield _host_step(context, layer, tag)
        elif tag in context.plan.groups:
            pending += fused_steps(context, context.plan.groups[tag], groups)
        elif plan is not None and isinstance(layer, ArrayLayer):
            pending += after_layer(array_steps(context, layer, plan, tag, groups))
        elif plan is not None and isinstance(layer, VectorLayer):
            pending += after_layer(vector_steps(context, layer, plan, tag))
    if pending:
        yield list(flatten(iter(pending)))


def _host_step(context: Context, layer: HostLayer, tag: int) -> HostStep:
    node, tensors = layer.nodes[0], context.net.quant
    return HostStep(node, tag, layer.reason, {name: tensors[name] for name in (*node.inputs, *node.outputs) if name in tensors})


def _place_tensors(context: Context) -> None:
    """Give every tensor that host and user touch its place."""
    for name in (*context.net.inputs, *context.net.outputs):
        if name in context.net.shapes and not _is_float(context, name):
            context.dram.tensor(name)
    for layer in context.net.layers:
        if isinstance(layer, HostLayer):
            for name in (*layer.nodes[0].inputs, *layer.nodes[0].outputs):
                if not _is_float(context, name):
                    context.dram.tensor(name)


def _is_float(context: Context, name: str) -> bool:
    """Float tensors stay with the host; so do tensors that have no layout and that only the host touches."""
    return name in context.net.host_only


def _program(context: Context, ordered: Ordered) -> ProgramStep:
    """A program, its streams having their places in memory."""
    streams = {engine: _stream(context, engine, table) for engine, table in ordered.tables.items()}
    return ProgramStep(streams, ordered.engines, ordered.tables)


def _stream(context: Context, engine: Engine, table: Table) -> Stream:
    size = (len(table) * instruction_units(Opcode(engine + 1)) + instruction_units(Opcode.END)) * UNIT_BYTES
    size += -size % context.params.stream_granule_bytes
    return Stream(context.dram.constant(size, partial(_code, engine, table, size)), size)


def _code(engine: Engine, table: Table, size: int) -> NDArray[np.uint8]:
    """The bytes of an engine's instructions, of END, and zeros. END waits for the instructions: the program ends when all have
    finished."""
    end = Instruction(Opcode.END, {"wait_enable": 1 << engine, f"wait_{engine.name.lower()}": len(table)})
    instructions = (*instructions_of(Opcode(engine + 1), table), end)
    return np.frombuffer(b"".join(map(encode, instructions)).ljust(size, b"\0"), dtype=np.uint8)


def _image(context: Context, steps: tuple[ImageStep, ...], params: Params, *, contents: bool) -> Image:
    net, dram = context.net, context.dram
    if dram.used_bytes >= MAX_DRAM_BYTES:
        raise MappingError(f"the network takes {dram.used_bytes} bytes of DRAM; instructions address 4 GiB")
    image = Image(
        net.name, params.fingerprint, params.lanes, dram.image, dram.used_bytes, steps, dram.placed(), net.inputs, net.outputs,
        tuple(_info(net, tag, layer, params) for tag, layer in enumerate(net.layers)),
    )  # fmt: skip
    verify_image(image, params, contents=contents)
    return image


def _info(net: Lowered, tag: int, layer: Layer, params: Params) -> LayerInfo:
    unit = "host" if isinstance(layer, HostLayer) else "array" if isinstance(layer, ArrayLayer) else "vector"
    node = layer.nodes[0]
    kind = type(node).__name__.lower()
    if isinstance(node, Conv):
        kind = "depthwise" if unit == "vector" else "grouped conv" if node.groups > 1 else "conv"
    elif isinstance(node, Host):
        kind = node.operation.name
    note = layer.reason if isinstance(layer, HostLayer) else ""
    names = tuple(n.source for n in layer.nodes)
    shape, edges = net.shapes[layer.output], occupancy(net, layer, params)
    return LayerInfo(tag, layer.name, unit, kind, layer.macs, layer.output, names, shape, note, edges)
