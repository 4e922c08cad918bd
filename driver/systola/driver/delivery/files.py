"""The files of a delivery, by path: each text follows from the description and the versions of the tools alone."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from importlib.metadata import version
from typing import Any

from jinja2 import Environment, StrictUndefined

from systola.driver.c_header import c_header
from systola.driver.delivery.axi import axi_ports
from systola.driver.register_page import register_parts
from systola.hw.emit import TOP_MODULE, emit_verilog, yosys_version
from systola.hw.isa import ISA_VERSION
from systola.hw.params import Params
from systola.hw.readable.units import Design, emit_design

__all__ = ["MARK", "Delivery"]

MARK = "Made by Systola"
"""Begins the line of a file's head that says what made it."""

PART = "xc7z020clg400-1"
"""The part that Vivado's projects begin with; each takes another."""

WRAPPER = "rtl/systola_axi.v"
FLAT = "sim/systola_flat.v"
WIDTH = 120

_PLAIN = str.maketrans(
    {"×": "x", "·": "*", "–": "-", "−": "-", "…": "...", "→": "->", "≥": ">=", "≤": "<=", "Σ": "sum of ", "`": None}
)
"""For comments in files that not every tool reads as UTF-8."""


@dataclass(frozen=True)
class Delivery:
    """What is delivered of an accelerator. ``flat``: with the one-module variant too, which takes minutes for large arrays."""

    params: Params
    flat: bool = False

    def files(self) -> dict[str, str]:
        """Texts by path below the folder. Raises ToolError if yosys fails."""
        written = list(self._files())
        texts = {path: text for path, _, text in written}
        listed = [(path, what) for path, what, _ in written if path not in self._units]
        units = [("rtl/systola.v", "the accelerator: its units, connected"), ("rtl/systola_*.v", "the units, a file for each")]
        return {"README.md": self._render("README.md", listed=[*units, *listed]), **texts}

    def _files(self) -> Iterator[tuple[str, str, str]]:
        """Path, what it is, text."""
        for path, unit in self._units.items():
            yield path, unit.does, f"{self._head('//', f'{unit.name}: {unit.does}')}\n\n{unit.text}"
        yield WRAPPER, "the top for AXI systems", self._render("systola_axi.v")
        if self.flat:
            yield FLAT, "the accelerator as one module, in place of the others: simulates faster", self._flat
        yield "lint/systola.vlt", "what Verilator's lint is told to accept, with reasons", self._waivers
        yield "constraints/systola.xdc", "constraints for Vivado", self._render("systola.xdc")
        yield "constraints/systola.lpf", "constraints for Lattice ECP5", self._render("systola.lpf")
        yield "constraints/systola.sdc", "constraints for other tools", self._render("systola.sdc")
        yield "vivado/project.tcl", "makes a Vivado project, synthesizes, packages an IP", self._render("project.tcl")
        yield "systola.core", "the core for FuseSoC", self._render("systola.core")
        yield "systola.h", "registers and instructions for C", c_header()
        yield "registers.md", "the registers, explained", "\n\n".join(register_parts()) + "\n"
        yield "accelerator.json", "the description, with all defaults", self.params.config.model_dump_json(indent=2) + "\n"

    @cached_property
    def _design(self) -> Design:
        return emit_design(self.params)

    @property
    def _units(self) -> dict[str, Any]:
        return {f"rtl/{unit.name}.v": unit for unit in self._design.units}

    @cached_property
    def _flat(self) -> str:
        text = emit_verilog(self.params, flat=True)
        return f"{self._head('//', f'{TOP_MODULE}: the accelerator in one module, optimized, for simulation.')}\n\n{text}"

    @property
    def _waivers(self) -> str:
        return resources.files("systola.hw").joinpath("lint.vlt").read_text(encoding="utf-8")

    def _head(self, mark: str, what: str) -> str:
        """The comment that a file begins with: what it is, the accelerator's parameters, what made it."""
        config = self.params.config
        sections = config.model_dump(exclude={"name", "dram", "technology"})
        made = (
            f"{MARK} {version('systola')} (instruction set {ISA_VERSION}) with Amaranth {version('amaranth')} and "
            f"Yosys {yosys_version()}; change the description, not this file."
        )
        lines = [
            *textwrap.wrap(what.translate(_PLAIN), WIDTH - 4),
            "",
            f"Accelerator {config.name}, fingerprint {self.params.fingerprint:#010x}",
            *(f"  {name}: " + ", ".join(f"{key} {value}" for key, value in fields.items()) for name, fields in sections.items()),
            made,
            "SPDX-License-Identifier: Apache-2.0",
        ]
        return "\n".join(f"{mark} {line}".rstrip() for line in lines)

    def _render(self, name: str, **more: Any) -> str:
        """A template's text."""
        source = resources.files("systola.driver.delivery").joinpath("templates", f"{name}.j2").read_text(encoding="utf-8")
        environment = Environment(
            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
        )
        config, ports = self.params.config, self._design.ports
        period = 1000 / config.clock.frequency_mhz
        return environment.from_string(source).render(
            head=self._head,
            range=lambda width: f"[{width - 1}:0] " if width > 1 else "",
            top=TOP_MODULE,
            name=config.name,
            identifier=re.sub(r"\W", "_", f"{TOP_MODULE}_{config.name}"),
            fingerprint=f"{self.params.fingerprint:#010x}",
            version=version("systola"),
            ip_version=".".join(re.findall(r"\d+", version("systola"))[:2]),
            part=PART,
            array=config.array,
            bus=config.bus,
            mhz=f"{config.clock.frequency_mhz:g}",
            period=f"{period:.3f}",
            third=f"{period / 3:.3f}",
            ports=list(axi_ports(ports)),
            trace=[port for port in ports if port.name.startswith("trace_")],
            rtl=list(self._units),
            axi=WRAPPER,
            flat=FLAT if self.flat else None,
            **more,
        )
