"""Sweeps: what they leave behind, and what is made of it. ``load_results(folder)`` is where to begin."""

from systola.reports.sweep.database import load_results
from systola.reports.sweep.metrics import METRICS
from systola.reports.sweep.results import PointResult, SweepResults

__all__ = ["METRICS", "PointResult", "SweepResults", "load_results"]
