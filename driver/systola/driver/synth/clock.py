"""The clock that an accelerator reached on a device, for reports of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from systola.driver.synth.devices import TARGETS, find_target
from systola.driver.synth.flow import verilog_name
from systola.hw.config import Config
from systola.hw.errors import ConfigError, ToolError
from systola.hw.params import Params
from systola.reports.synthesis.schema import JSON_NAME, SynthesisReport, load_synthesis
from systola.reports.synthesis.text import clock_text
from systola.sim.rtl.build import NOT_HARDWARE, verilog_of
from systola.sim.rtl.cache import Progress, cache_folder, write_atomically

__all__ = ["achieved_clock", "remember"]


def remember(report: SynthesisReport) -> None:
    """Keep the report in the cache, for ``achieved_clock`` by the device's name: the last one of an accelerator's Verilog.
    What is on a board is not the device's own."""
    if report.fmax_mhz is None or report.board:
        return
    place = _place(report.verilog, report.device)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place, report.model_dump_json())
    except OSError as error:
        raise ToolError(f"the build cache cannot be written: {error}. Set SYSTOLA_CACHE to a folder that can") from error


def _place(verilog: str, device: str) -> Path:
    return cache_folder() / "synthesis" / "last" / f"{verilog}-{device}.json"


def achieved_clock(params: Params, device: str, accel: str, progress: Progress | None = None) -> tuple[float, str]:
    """(clock in MHz, where it comes from) of an accelerator on ``device``: the folder or file of a result of ``systola synth``,
    or a device's name, for its last result here. ``accel``: how the user called the accelerator.

    Raises ConfigError if there is none, or if it is another accelerator's.
    """
    path = Path(device)
    if device in TARGETS and not path.exists():
        report = _remembered(params, device, accel, progress)
    else:
        report = _named(path, device)
        _check_same(report, params.config, device)
    if report.fmax_mhz is None:
        raise ConfigError(f"{device} has no clock: the accelerator was not routed there ({report.unplaced_reason})")
    if report.board and report.asked_mhz is not None and report.met:
        return report.asked_mhz, clock_text(report)
    return report.fmax_mhz, clock_text(report)


def _remembered(params: Params, device: str, accel: str, progress: Progress | None) -> SynthesisReport:
    target = find_target(device)
    if not target.placed:
        raise ConfigError(
            f"--device {device}: nothing is placed and routed for it, and so no clock is known; ECP5 devices have one"
        )
    place = _place(verilog_name(verilog_of(params, progress=progress)), device)
    if not place.is_file():
        raise ConfigError(
            f"{accel} was not placed and routed on {device} here, as it is now: run systola synth --accel {accel} --device "
            f"{device} -o DIR first, or give the DIR of a result as --device DIR"
        )
    return load_synthesis(place)


def _named(path: Path, device: str) -> SynthesisReport:
    path = path / JSON_NAME if path.is_dir() else path
    if not path.is_file():
        names = ", ".join(target.name for target in TARGETS.values() if target.placed)
        raise ConfigError(
            f"--device {device}: there is neither a device of this name ({names}) nor a result of systola synth (its folder, or "
            f"its {JSON_NAME})"
        )
    return load_synthesis(path)


def _check_same(report: SynthesisReport, config: Config, device: str) -> None:
    """The result is of the same hardware."""
    ours, theirs = config.model_dump(mode="json"), report.accelerator
    different = [name for name in ours if name not in NOT_HARDWARE and ours[name] != theirs.get(name)]
    if different:
        raise ConfigError(
            f"--device {device} is of another accelerator, '{theirs.get('name')}': {_difference(different[0], ours, theirs)}"
        )


def _difference(section: str, ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    other = theirs.get(section) or {}
    field = next((key for key, value in ours[section].items() if other.get(key) != value), None)
    return section if field is None else f"{section}.{field} is {other.get(field)} there and {ours[section][field]} here"
