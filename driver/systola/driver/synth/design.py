"""The Verilog of an accelerator, by module."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from systola.hw.emit import TOP_MODULE

__all__ = ["Design"]

_MODULE = re.compile(r"^module ([^\s(]+).*?^endmodule", re.MULTILINE | re.DOTALL)


class Design:
    """``text``: hierarchical Verilog with the top TOP_MODULE. ``units``: what the top consists of, and the module of each."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._modules = {match[1].lstrip("\\"): match[0] for match in _MODULE.finditer(text)}
        self.units = {self._unit(module): module for module in self._instances(TOP_MODULE)}

    @staticmethod
    def _unit(module: str) -> str:
        return module.removeprefix(f"{TOP_MODULE}.").partition("$")[0]

    def _instances(self, module: str) -> Iterator[str]:
        found = re.findall(rf"^  (\\?{TOP_MODULE}\.\S+) +\S+ +\($", self._modules.get(module, ""), re.MULTILINE)
        return (name.lstrip("\\") for name in found)

    def modules(self, unit: str) -> tuple[str, ...]:
        """Names of the modules that a unit consists of, once for each instance."""
        return tuple(self._closure(self.units[unit]))

    def _closure(self, module: str) -> Iterator[str]:
        yield module
        for instance in self._instances(module):
            yield from self._closure(instance)

    def source(self, unit: str) -> str:
        """The Verilog of the modules that a unit consists of."""
        return "\n".join(self._modules[module] for module in self.modules(unit))

    def digest(self, unit: str) -> str:
        """The same for the same unit, whatever numbers its names were given."""
        numbers: dict[str, str] = {}
        text = re.sub(r"\$\d+", lambda match: numbers.setdefault(match[0], f"${len(numbers)}"), self.source(unit))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
