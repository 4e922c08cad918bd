"""An image as text: what a person reads to see what the machine will do."""

from __future__ import annotations

from collections.abc import Iterator

from systola.hw.isa import ENGINES, INSTRUCTIONS, Instruction, VectorOp
from systola.mapper.image import Image, ProgramStep

__all__ = ["listing"]


def listing(image: Image) -> str:
    """The layers, the tensors in memory, and every instruction with its waits; one line each."""
    return "\n".join([*_layers(image), "", *_tensors(image), *_steps(image)]) + "\n"


def _layers(image: Image) -> Iterator[str]:
    yield f"# {image.name}: {len(image.layers)} layers, {image.memory_bytes} bytes of memory, hardware {image.fingerprint:#010x}"
    for layer in image.layers:
        shape = "×".join(map(str, layer.shape))
        yield f"layer {layer.tag:4} {layer.unit:6} {layer.kind:14} {layer.name} [{shape}] {layer.note}".rstrip()


def _tensors(image: Image) -> Iterator[str]:
    for placed in sorted(image.tensors.values(), key=lambda p: p.address):
        layout = placed.layout
        size = f"{layout.planes}×{layout.height}×{layout.width}"
        yield f"tensor {placed.address:#010x} {layout.bytes:8} bytes {size} words {placed.name}"


def _steps(image: Image) -> Iterator[str]:
    for number, step in enumerate(image.steps):
        yield ""
        if not isinstance(step, ProgramStep):
            yield f"step {number}: host computes {step.node.name} ({step.reason})"
            continue
        yield f"step {number}: program of {len(step.instructions)} instructions"
        for engine, stream in step.streams.items():
            count = len(step.of_engine(engine))
            yield f"  stream at {stream.address:#010x}, {stream.bytes} bytes: {count} instructions for {engine.name.lower()}"
        counts = dict.fromkeys(ENGINES, 0)
        for instruction in step.instructions:
            engine = ENGINES[instruction.opcode - 1]
            counts[engine] += 1
            place = f"#{counts[engine]}"
            yield f"  {instruction.opcode.name:6} {place:6} {_waits(instruction)}{_fields(instruction)}".rstrip()


def _waits(instruction: Instruction) -> str:
    waits = [
        f"{engine.name.lower()}#{instruction[f'wait_{engine.name.lower()}']}"
        for engine in ENGINES
        if instruction["wait_enable"] >> engine & 1
    ]
    return f"after {','.join(waits)}: " if waits else ""


def _fields(instruction: Instruction) -> str:
    parts = []
    for item in INSTRUCTIONS[instruction.opcode][1]:
        value = instruction[item.name]
        if item.name == "op":
            parts.append(VectorOp(value).name)
        elif value:
            parts.append(f"{item.name}={value}")
    return " ".join([f"layer={instruction['tag']}", *parts])
