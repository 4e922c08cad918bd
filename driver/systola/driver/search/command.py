"""``systola search``: what a user sees of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from systola.hw.errors import ConfigError, MismatchError

if TYPE_CHECKING:
    from systola.driver.search.plan import SearchOptions
    from systola.driver.search.run import Found

__all__ = ["NOTHING_FOUND", "search_command"]

NOTHING_FOUND = 3
"""Exit status where nothing meets the limits."""

PLAIN_WIDTH = 200
REASONS_SHOWN = 3

Model = Annotated[Path, typer.Argument(help="A folder with graph.nnef, or a .nnef file together with --random-weights.")]
MaxLatency = Annotated[str | None, typer.Option(help="The most that an inference may take: 10ms.")]
MaxPower = Annotated[str | None, typer.Option(help="The most dynamic power during an inference: 1.5W.")]
MaxEnergy = Annotated[str | None, typer.Option(help="The most energy of an inference: 5mJ.")]
Fits = Annotated[str | None, typer.Option(help="The FPGA that it has to fit: ecp5-25k, ecp5-45k or ecp5-85k.")]
Utilization = Annotated[str, typer.Option(help="Share of the FPGA's LUT4 that may be used.")]
Agreement = Annotated[str | None, typer.Option(help="The least top-1 agreement with the reference: 0.97 or 97%.")]
Objectives = Annotated[
    list[str] | None,
    typer.Option("--objective", help="latency, energy, power, area, or a figure of docs/reference/space.md; can be repeated."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; one with part of them is gone on with.")]
Base = Annotated[str | None, typer.Option(help="Preset or accelerator.toml around which is searched; default: small.")]
SpaceFile = Annotated[Path | None, typer.Option("--space", help="TOML file with what to search: docs/reference/space.md.")]
Clock = Annotated[str | None, typer.Option(help="Clock: 150MHz; default: the base's.")]
Dram = Annotated[str | None, typer.Option(help="The board's DRAM, cycles of latency and bytes a cycle: 100,8; default: base's.")]
Points = Annotated[int | None, typer.Option(help="Simulate this many points at most; default: 400.", min=1, max=1_000_000)]
Seed = Annotated[int | None, typer.Option(help="Where the search begins; default: 0.", min=0, max=(1 << 32) - 1)]
Samples = Annotated[int | None, typer.Option(help="Measure agreement on this many samples at most; default: 100.", min=0)]
Workers = Annotated[int | None, typer.Option(help="Processes that compute; default: one for each core.", min=1, max=1024)]
Cluster = Annotated[str | None, typer.Option(help="Compute on the Dask cluster of this scheduler: tcp://HOST:8786.")]
Weights = Annotated[int | None, typer.Option(help="Draw weights from this seed, for a .nnef file without any.")]
Verify = Annotated[int, typer.Option(help="Run this many of the accelerators found, best first, on RTL.", min=0)]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Compute points again that failed.")]


def search_command(
    model: Model,
    output: Output,
    max_latency: MaxLatency = None,
    max_power: MaxPower = None,
    max_energy: MaxEnergy = None,
    fits: Fits = None,
    utilization: Utilization = "0.8",
    min_agreement: Agreement = None,
    objective: Objectives = None,
    base: Base = None,
    space: SpaceFile = None,
    clock: Clock = None,
    dram: Dram = None,
    points: Points = None,
    seed: Seed = None,
    samples: Samples = None,
    workers: Workers = None,
    cluster: Cluster = None,
    random_weights: Weights = None,
    verify: Verify = 1,
    retry_failed: Retry = False,
) -> None:
    """Find accelerators that meet limits. Exit status 3 if there is none. The same command goes on where it was stopped."""
    from systola.driver.search.limits import make_limits
    from systola.driver.search.plan import SearchOptions
    from systola.driver.search.quantities import ENERGY, FREQUENCY, POWER, TIME, parse_dram, parse_share

    limits = make_limits(
        latency_ms=None if max_latency is None else TIME.parse(max_latency, "--max-latency"),
        power_mw=None if max_power is None else POWER.parse(max_power, "--max-power"),
        energy_uj=None if max_energy is None else ENERGY.parse(max_energy, "--max-energy"),
        device=fits,
        utilization=parse_share(utilization, "--utilization"),
        agreement=None if min_agreement is None else parse_share(min_agreement, "--min-agreement"),
    )
    if not limits:
        raise ConfigError(
            "a search needs a limit: --max-latency, --max-power, --max-energy, --fits or --min-agreement; systola sweep compares "
            "accelerators without any"
        )
    options = SearchOptions(
        model=model, output=output, limits=limits, objectives=tuple(objective or ()), base=base, space=space,
        clock_mhz=None if clock is None else FREQUENCY.parse(clock, "--clock"),
        dram=None if dram is None else parse_dram(dram),
        points=points, seed=seed, samples=samples, random_weights=random_weights, verify=verify, retry_failed=retry_failed,
    )  # fmt: skip
    _run(options, workers, cluster)


def _run(options: SearchOptions, workers: int | None, cluster: str | None) -> None:
    from systola.driver.search.output import write_accelerators, write_margins
    from systola.driver.search.run import search
    from systola.driver.sweep.command import difference, executor, shown, write_parquet
    from systola.driver.sweep.evaluate import EVALUATION
    from systola.driver.sweep.export import write_csv

    if options.verify:
        from systola.sim.rtl.tools import check_tools

        check_tools()
    with shown() as (notify, progress):
        found = search(options, lambda: executor(workers, cluster), EVALUATION, progress=progress, notify=notify)
    folder = options.output
    files = [write_csv(found.results, folder), *write_parquet(found.results, folder), write_margins(found, folder)]
    files += [*_write_page(found, folder), *write_accelerators(found, folder)]
    _print(found, files)
    wrong = [f"{point.hash} ({v.network}: {v.reason or difference(v)})" for point, v in found.verified if not v.equal]
    if wrong:
        raise MismatchError(f"RTL does not confirm {len(wrong)} of {len(found.verified)} runs: {'; '.join(wrong)}")
    if not found.results.front:
        raise typer.Exit(NOTHING_FOUND)


def _write_page(found: Found, folder: Path) -> list[Path]:
    """The sweep's page, with what the search was told."""
    from systola.driver.sweep.command import write_html
    from systola.reports.sweep.html import Wording

    facts = (("limits", ", ".join(limit.show() for limit in found.limits)),)
    return write_html(found.results, folder, Wording("Search", facts, "that meet all limits"))


def _print(found: Found, files: list[Path]) -> None:
    from systola.driver.search.output import closest_table, front_table, relaxation_lines, remarks

    console = Console()
    console = console if console.is_terminal else Console(width=PLAIN_WIDTH)
    console.print(f"Limits: {', '.join(limit.show() for limit in found.limits)}", highlight=False, soft_wrap=True)
    if found.results.front:
        console.print(front_table(found))
    elif found.judgements:
        console.print(closest_table(found))
        for line in relaxation_lines(found):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    else:
        console.print("Nothing meets all limits, and no point could be simulated: none is close.")
    for line in remarks(found):
        console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
    for state in ("invalid", "failed"):
        reasons = Counter(point.reason for point in found.results.points if point.state == state)
        for reason, count in reasons.most_common(REASONS_SHOWN):
            console.print(f"  {state}, {count:,}×: {reason}", markup=False, highlight=False, soft_wrap=True)
    console.print("Results: " + ", ".join(map(str, files)), style="dim", soft_wrap=True)
