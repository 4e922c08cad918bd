"""What ``compile`` and ``verilog`` write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from systola.driver.c_header import c_header
from systola.driver.firmware import write_firmware
from systola.hw.emit import emit_verilog
from systola.hw.isa import ISA_VERSION
from systola.hw.params import Params
from systola.mapper.image import HostStep, Image, Step
from systola.mapper.listing import listing
from systola.mapper.quantgraph import QuantGraph
from systola.reports.files import write_bytes, write_text

__all__ = ["manifest", "write_image", "write_verilog"]

MANIFEST_VERSION = 2


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


def write_verilog(params: Params, folder: Path) -> tuple[Path, ...]:
    """systola.v, the C header of its registers, and the resolved description that it was made from; their paths."""
    paths = folder / "systola.v", folder / "accelerator.json", folder / "systola.h"
    write_text(paths[0], emit_verilog(params))
    write_text(paths[1], params.config.model_dump_json(indent=2) + "\n")
    write_text(paths[2], c_header())
    return paths
