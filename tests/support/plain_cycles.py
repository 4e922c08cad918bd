"""The cycle model's modules as plain Python, beside the compiled ones."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numba
import pytest

PACKAGE = "systola.sim.cycles"


def plain_module(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    """A unit's module and all that it calls, not compiled; until the test ends."""
    importlib.import_module(f"{PACKAGE}.{name}")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    for module in [module for module in sys.modules if module.startswith(f"{PACKAGE}.")]:
        unit = module.removeprefix(f"{PACKAGE}.")
        monkeypatch.setattr(sys.modules[PACKAGE], unit, sys.modules[module])  # to be as it was, afterwards
        monkeypatch.delitem(sys.modules, module)
    return importlib.import_module(f"{PACKAGE}.{name}")
