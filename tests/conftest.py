"""Fixtures every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from rtl import RtlPool

# Fixed seeds: a failure seen once is seen again; hypothesis prints the falsifying example.
settings.register_profile(
    "systola", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("systola")

PRESETS = ("tiny", "small", "base", "tall", "wide", "large")


def models_folder() -> Path | None:
    """The folder of trained networks beside the checkout, or where ``SYSTOLA_MODELS`` says."""
    named = os.environ.get("SYSTOLA_MODELS")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "models"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder of trained networks; a test that needs it skips where it is absent."""
    folder = models_folder()
    if folder is None:
        pytest.skip("the trained networks are not here: set SYSTOLA_MODELS to their folder")
    return folder


@pytest.fixture(scope="session")
def rtl() -> Iterator[RtlPool]:
    """RTL simulations by preset, opened once each and closed at the end."""
    from rtl import RtlPool

    pool = RtlPool()
    yield pool
    pool.close()
