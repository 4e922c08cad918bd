"""The C description of a compiled network: what the C driver needs besides the image's bytes, as constant tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from systola.hw.isa import ENGINES, ISA_VERSION
from systola.hw.params import Params
from systola.mapper.image import HostStep, Image, Placed, Step, Stream
from systola.mapper.quantgraph import Im2col, QuantGraph, QuantTensor

__all__ = ["c_network"]

_HEAD = """\
/* {name} on {accelerator}, for the driver in systola_driver.h: made by `systola compile`, do not edit.
 *
 * Include it in one file. The image is image.bin, {image_bytes} bytes. */
#ifndef SYSTOLA_NETWORK_H
#define SYSTOLA_NETWORK_H

#include "systola_driver.h"
"""
_NONE = "0"  # a null pointer


def c_network(image: Image, graph: QuantGraph, params: Params) -> str:
    """The text of ``network.h``: programs, the tensors that a processor writes or reads, and the ``network`` that names them."""
    return "\n".join(_parts(image, graph, params)) + "\n"


def _parts(image: Image, graph: QuantGraph, params: Params) -> Iterator[str]:
    comment = {"name": _comment(image.name), "accelerator": _comment(params.config.name)}
    yield _HEAD.format(image_bytes=image.memory.size, **comment)
    numbers = {name: number for number, name in enumerate(_used(image))}
    tensors = _quantized(image, graph)
    if numbers:
        yield "static const systola_tensor network_tensors[] = {"
        yield from (f"    {_tensor(image.tensors[name], tensors.get(name))}," for name in numbers)
        yield "};\n"
    yield from (_windows(number, node) for number, node in _im2cols(image))
    lists = {"network_inputs": image.inputs, "network_outputs": image.outputs}
    steps = [_step(number, step, lists) for number, step in enumerate(image.steps)]
    placed = {key: [name for name in lists[key] if name in numbers] for key in ("network_inputs", "network_outputs")}
    lists |= {key: tuple(names) for key, names in placed.items()}
    yield from (_pointers(key, names, numbers) for key, names in lists.items() if names)
    yield "static const systola_step network_steps[] = {"
    yield from (f"    {text}," for text in steps)
    yield "};\n"
    yield "static const systola_network network = {"
    yield from (f"    {value}, /* {name} */" for name, value in _network(image, params, lists).items())
    yield "};\n\n#endif"


def _used(image: Image) -> list[str]:
    """Tensors in memory that a processor touches, each once: inputs, outputs, operands of host steps."""
    names = [*image.inputs, *image.outputs]
    names += [n for step in image.steps if isinstance(step, HostStep) for n in (*step.node.inputs, *step.node.outputs)]
    return [name for name in dict.fromkeys(names) if name in image.tensors]


def _quantized(image: Image, graph: QuantGraph) -> dict[str, QuantTensor]:
    """Scales by name, of the tensors that the compiler added too: windows have their input's."""
    tensors = dict(graph.tensors)
    for step in image.steps:
        if isinstance(step, HostStep):
            tensors |= step.tensors
    for _, node in _im2cols(image):
        tensors.setdefault(node.output, tensors[node.inputs[0]])
    return tensors


def _im2cols(image: Image) -> Iterator[tuple[int, Im2col]]:
    """The steps, with their numbers, that the driver does itself."""
    for number, step in enumerate(image.steps):
        if isinstance(step, HostStep) and isinstance(step.node, Im2col):
            yield number, step.node


def _windows(number: int, node: Im2col) -> str:
    sizes = (*node.kernel, *node.stride, *node.dilation, node.padding[0][0], node.padding[1][0])
    text = ", ".join(f"{size}u" for size in sizes)
    return f"static const systola_windows network_step_{number}_windows = {{{text}, {node.pad_code}}};\n"


def _tensor(placed: Placed, tensor: QuantTensor | None) -> str:
    """An initializer; bytes that are no codes of the network have none of its scales."""
    layout = placed.layout
    shape = (layout.channels, layout.height, layout.width, layout.lanes)
    channels_last = int(len(placed.shape) == 2)
    numbers = (placed.address, layout.bytes, *shape, channels_last)
    text = ", ".join(f"{number}u" for number in numbers)
    return f"{{{_string(placed.name)}, {text}, {tensor.zero_point if tensor else 0}, {_float(tensor.scale if tensor else 1.0)}}}"


def _step(number: int, step: Step, lists: dict[str, tuple[str, ...]]) -> str:
    """An initializer; ``lists`` gets the pointer lists that it names."""
    if isinstance(step, HostStep):
        named = []
        for kind, names in (("inputs", step.node.inputs), ("outputs", step.node.outputs)):
            key = f"network_step_{number}_{kind}"
            lists[key] = tuple(names)
            named.append(_list(key, names))
        counts = f"{len(step.node.inputs)}u, {len(step.node.outputs)}u"
        zeros = ", ".join("0u" for _ in ENGINES)
        windows = f"&network_step_{number}_windows" if isinstance(step.node, Im2col) else _NONE
        return f"{{{{{zeros}}}, {{{zeros}}}, {_string(step.node.name)}, {windows}, {', '.join(named)}, {counts}}}"
    streams = [step.streams.get(engine, Stream(0, 0)) for engine in ENGINES]
    addresses, sizes = (", ".join(f"{getattr(s, what)}u" for s in streams) for what in ("address", "bytes"))
    return f"{{{{{addresses}}}, {{{sizes}}}, {_NONE}, {_NONE}, {_NONE}, {_NONE}, 0u, 0u}}"


def _network(image: Image, params: Params, lists: Mapping[str, Sequence[str]]) -> dict[str, str]:
    inputs, outputs = lists["network_inputs"], lists["network_outputs"]
    return {
        "name": _string(image.name),
        "accelerator": _string(params.config.name),
        "isa_version": f"{ISA_VERSION}u",
        "fingerprint": f"{image.fingerprint:#010x}u",
        "alignment_bytes": f"{params.alignment_bytes}u",
        "address_bits": f"{params.config.bus.address_bits}u",
        "memory_bytes": f"{image.memory_bytes}u",
        "image_bytes": f"{image.memory.size}u",
        "steps": "network_steps",
        "inputs": _list("network_inputs", inputs),
        "outputs": _list("network_outputs", outputs),
        "step_count": f"{len(image.steps)}u",
        "input_count": f"{len(inputs)}u",
        "output_count": f"{len(outputs)}u",
    }


def _list(key: str, names: Sequence[str]) -> str:
    return key if names else _NONE


def _pointers(key: str, names: Sequence[str], numbers: Mapping[str, int]) -> str:
    pointers = (f"&network_tensors[{numbers[n]}]" if n in numbers else _NONE for n in names)
    return f"static const systola_tensor *const {key}[] = {{{', '.join(pointers)}}};\n"


def _float(value: float) -> str:
    """The nearest float, as C writes it."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if re.search(r"[.e]", text) else f"{text}.0f"


def _string(text: str) -> str:
    """A C string of UTF-8 bytes; what is not plain is written in octal."""
    plain = {ord(c) for c in " ._-/:" + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"}
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def _comment(text: str) -> str:
    return re.sub(r"[^\w .-]", "_", text, flags=re.ASCII)
