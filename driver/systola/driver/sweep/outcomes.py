"""What a sweep asks its workers for, and what they answer; and how far it is."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from systola.driver.sweep.networks import Model
from systola.driver.sweep.points import Point
from systola.hw.config import Config
from systola.reports.sweep.results import Agreement, NetworkResult, Resources, State

__all__ = ["Evaluation", "PointOutcome", "Progress", "worker_name"]


@dataclass(frozen=True)
class PointOutcome:
    """What became of a point. ``reason``: of one that is invalid or failed. ``worker``: who computed it, in ``seconds``."""

    state: State
    reason: str = ""
    networks: tuple[NetworkResult, ...] = ()
    resources: Resources | None = None
    seconds: float = 0.0
    worker: str = ""


@dataclass(frozen=True)
class Evaluation:
    """What workers compute: functions that they can import. ``agreement`` is of a model, a method, the multiplier's bits and the
    most samples. ``prepare``: what one worker does before the others begin, so that they need not; of a model and the base."""

    point: Callable[[Point, Sequence[Model]], PointOutcome]
    agreement: Callable[[Model, str, int, int], Agreement | None]
    prepare: Callable[[Model, Config], None]


@dataclass
class Progress:
    """How far a sweep is. ``known``: points that were there before. ``changed`` is called after every point."""

    changed: Callable[[Progress], None] = lambda _: None
    total: int = 0
    known: int = 0
    states: dict[str, int] = field(default_factory=lambda: {"done": 0, "invalid": 0, "failed": 0})

    @property
    def ended(self) -> int:
        """Points that are in the database."""
        return self.known + sum(self.states.values())


def worker_name() -> str:
    """Machine and process."""
    return f"{platform.node()}:{os.getpid()}"
