"""What ``compile`` and ``verilog`` write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from systola.driver.delivery.files import MARK, Delivery
from systola.driver.firmware import write_firmware
from systola.hw.isa import ISA_VERSION
from systola.hw.params import Params
from systola.mapper.image import HostStep, Image, Step
from systola.mapper.listing import listing
from systola.mapper.quantgraph import QuantGraph
from systola.reports.files import output_folder, write_bytes, write_text

__all__ = ["manifest", "write_image", "write_verilog"]

MANIFEST_VERSION = 2

HEAD_CHARACTERS = 4096
"""A written file says in its first characters that Systola wrote it."""


def manifest(image: Image, params: Params) -> dict[str, Any]:
    """What a driver needs besides the bytes: steps, tensors, layers; and what the image is for."""
    return {
        "manifest_version": MANIFEST_VERSION,
        "isa_version": ISA_VERSION,
        "network": image.name,
        "accelerator": params.config.model_dump(mode="json"),
        "fingerprint": image.fingerprint,
        "memory_bytes": image.memory_bytes,
        "initial_bytes": int(image.memory.size),
        "inputs": list(image.inputs),
        "outputs": list(image.outputs),
        "steps": [_step(step) for step in image.steps],
        "tensors": {
            name: {
                "address": placed.address,
                "bytes": placed.layout.bytes,
                "shape": list(placed.shape),
                "planes": placed.layout.planes,
                "height": placed.layout.height,
                "width": placed.layout.width,
                "lanes": placed.layout.lanes,
            }
            for name, placed in image.tensors.items()
        },
        "layers": [
            {"tag": x.tag, "name": x.name, "unit": x.unit, "kind": x.kind, "macs": x.macs, "output": x.output, "note": x.note}
            for x in image.layers
        ],
    }


def _step(step: Step) -> dict[str, Any]:
    if isinstance(step, HostStep):
        node = step.node
        return {"host": node.name, "inputs": list(node.inputs), "outputs": list(node.outputs), "reason": step.reason}
    streams = {
        engine.name.lower(): {"address": stream.address, "bytes": stream.bytes, "instructions": len(step.of_engine(engine))}
        for engine, stream in step.streams.items()
    }
    return {"streams": streams}


def write_image(image: Image, graph: QuantGraph, params: Params, folder: Path) -> tuple[Path, ...]:
    """image.bin (initial memory), manifest.json and listing.txt in ``folder``, C files for firmware in its folder c; paths."""
    paths = folder / "image.bin", folder / "manifest.json", folder / "listing.txt"
    write_bytes(paths[0], image.memory.tobytes())
    write_text(paths[1], json.dumps(manifest(image, params), indent=2) + "\n")
    write_text(paths[2], listing(image))
    return *paths, *write_firmware(image, graph, params, folder / "c")


def write_verilog(params: Params, folder: Path, *, flat: bool = False) -> tuple[Path, ...]:
    """The accelerator's Verilog with all that belongs to it (``Delivery``), in ``folder``; the paths.

    Units of an accelerator that was written there before, and that this one does not have, are removed.
    """
    texts = Delivery(params, flat).files()
    paths = tuple(folder / name for name in texts)
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(output_folder(path.parent) / path.name, text)
    for path in {*(folder / "rtl").glob("systola*.v"), *(folder / "sim").glob("systola*.v")} - set(paths):
        if path.is_file() and MARK in path.read_text(encoding="utf-8", errors="replace")[:HEAD_CHARACTERS]:
            path.unlink()
    return paths
