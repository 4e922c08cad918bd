"""Which module is called what, and to which unit it belongs; modules that are alike, and numbered, become one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cached_property

from systola.hw.readable.names import Cell, Module, rename_module

__all__ = ["Hierarchy"]

_NUMBERED = re.compile(r"(?<=[^_\d])_\d+$")


class Hierarchy:
    """The modules of a design below ``top``.

    ``unit_names``: the module names of the top's instances, by instance; a part of a unit has the unit's name, then those of
    the instances that lead to it. Instances ``x_0``, ``x_1``, … of one module that are alike are of one module, ``…_x``.

    ``kinds``: new names of all modules by their old ones. ``order``: old names of those that are kept, the top first, each unit
    followed by its parts. ``unit_of``: the unit's new name, by the new name of a module.
    """

    def __init__(self, top: str, modules: Mapping[str, Module], unit_names: Mapping[str, str]) -> None:
        self._modules = modules
        self._digests: dict[str, str] = {}
        self.kinds: dict[str, str] = {top: top}
        self.order: list[str] = [top]
        self.unit_of: dict[str, str] = {top: top}
        for cell in modules[top].cells:
            self._name(cell.kind, "\\" + unit_names[_instance(cell)])
            for name in self._below(cell.kind):
                self.unit_of[self.kinds[name]] = self.kinds[cell.kind]

    @cached_property
    def rtlil(self) -> str:
        """All that is kept, with new names."""
        return "\n".join(rename_module(self._modules[name], self._modules, self.kinds) for name in self.order)

    def _below(self, name: str) -> list[str]:
        """A kept module and the kept ones in it."""
        kept = set(self.order)
        found = [name]
        for each in found:
            found += [cell.kind for cell in self._modules[each].cells if cell.kind in kept]
        return found

    def _name(self, old: str, new: str) -> None:
        """Name a module and what is in it."""
        self.kinds[old] = new
        self.order.append(old)
        module = self._modules[old]
        groups: dict[str, list[Cell]] = {}
        for cell in module.cells:
            groups.setdefault(_NUMBERED.sub("", _instance(cell)), []).append(cell)
        for stem, cells in groups.items():
            if len({self._digest(cell.kind) for cell in cells}) == 1:
                self._name(cells[0].kind, f"{new}_{stem}")
                self.kinds |= {cell.kind: self.kinds[cells[0].kind] for cell in cells}
            else:
                for cell in cells:
                    self._name(cell.kind, f"{new}_{_instance(cell)}")

    def _digest(self, name: str) -> str:
        """Equal for modules that differ in names of modules only."""
        if name not in self._digests:
            module = self._modules[name]
            kinds = {name: "self", **{cell.kind: self._digest(cell.kind) for cell in module.cells}}
            self._digests[name] = hashlib.sha256(rename_module(module, self._modules, kinds).encode()).hexdigest()
        return self._digests[name]


def _instance(cell: Cell) -> str:
    """The name that the instance was given."""
    return re.sub(r"\$\d+$", "", cell.name.removeprefix("\\"))
