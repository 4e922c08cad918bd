"""The accelerator's Verilog by unit."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.back import rtlil
from amaranth.hdl import Fragment
from amaranth.lib.wiring import In

from systola.hw.accelerator import Accelerator
from systola.hw.emit import TOP_MODULE, clean_rtlil, run_yosys
from systola.hw.params import Params
from systola.hw.readable.hierarchy import Hierarchy
from systola.hw.readable.names import parse_modules
from systola.hw.readable.text import readable

__all__ = ["Design", "Port", "Unit", "emit_design"]

_PASSES = ("proc", "memory_collect", "opt_clean -purge", "opt_dff -simple-dffe", "opt_clean -purge", "attrmap -remove full_case")
"""As for simulations; without names that nothing uses, and without a remark on choices, all of which have a default."""

_MODULE = re.compile(r"^module (\S+?) ?\(.*?^endmodule\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Port:
    """A port of the top: ``width`` in bits."""

    name: str
    is_input: bool
    width: int


@dataclass(frozen=True)
class Unit:
    """A unit: ``name`` of its module, what it ``does`` in a paragraph, ``text`` of its modules, its own first."""

    name: str
    does: str
    text: str


@dataclass(frozen=True)
class Design:
    """The accelerator: the units, the top first, and the top's ports but for ``clk``."""

    units: tuple[Unit, ...]
    ports: tuple[Port, ...]


def emit_design(params: Params) -> Design:
    """The accelerator in readable Verilog; the top is TOP_MODULE, the units follow in the order of the top's parts.

    The same parameters and tools give the same text; and a unit's module has the same name, whatever the parameters.
    Raises ToolError if yosys fails.
    """
    accelerator = Accelerator(params)
    flat = list(accelerator.signature.flatten(accelerator))
    ports = [accelerator.domain.clk, *(value for _, _, value in flat)]
    fragment = Fragment.get(accelerator, None)
    parts = dict(_parts(fragment))
    modules = parse_modules(clean_rtlil(rtlil.convert(fragment, name=TOP_MODULE, ports=ports, emit_src=False)))
    names = _unit_names(parts)
    hierarchy = Hierarchy(f"\\{TOP_MODULE}", modules, names)
    verilog = run_yosys(hierarchy.rtlil, _PASSES)
    texts: dict[str, list[str]] = {}
    for found in _MODULE.finditer(verilog):
        unit = hierarchy.unit_of["\\" + found[1].removeprefix("\\")].removeprefix("\\")
        texts.setdefault(unit, []).append(found[0])
    does = {TOP_MODULE: _paragraph(accelerator), **{name: _paragraph(parts[part]) for part, name in names.items()}}
    order = [TOP_MODULE, *names.values()]
    units = tuple(Unit(name, does[name], "\n".join(readable(text) for text in texts[name])) for name in order if name in texts)
    return Design(units, tuple(Port(str(path[0]), member.flow is In, len(value)) for path, member, value in flat))


def _parts(fragment: Fragment) -> Iterator[tuple[str, object]]:
    """The top's parts by name."""
    for part, name, _ in fragment.subfragments:
        yield name, next(origin for origin in part.origins if type(origin).__module__.startswith("systola."))


def _unit_names(parts: dict[str, object]) -> dict[str, str]:
    """By its class; where several are of a class, by their names."""
    count = Counter(type(part).__name__ for part in parts.values())
    words = {name: _snake(type(part).__name__) if count[type(part).__name__] == 1 else name for name, part in parts.items()}
    return {name: f"{TOP_MODULE}_{word}" for name, word in words.items()}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _paragraph(part: object) -> str:
    """The first paragraph of a class's description."""
    return " ".join((inspect.getdoc(type(part)) or "").split("\n\n")[0].split())
