"""``systola sweep``: what a user sees of it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from systola.hw.errors import MismatchError, ToolError

if TYPE_CHECKING:
    from systola.driver.sweep.outcomes import Progress
    from systola.driver.sweep.workers import Executor
    from systola.reports.sweep.html import Wording
    from systola.reports.sweep.results import SweepResults, Verification

__all__ = ["difference", "executor", "shown", "sweep_command", "sweep_report_command", "write_html", "write_parquet"]

PLAIN_WIDTH = 160
REASONS_SHOWN = 3

Models = Annotated[list[Path], typer.Argument(help="Folders with graph.nnef, or .nnef files together with --random-weights.")]
SpaceFile = Annotated[Path, typer.Option("--space", help="TOML file with the axes to sweep: docs/reference/space.md.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results; one with part of them is gone on with.")]
Workers = Annotated[int | None, typer.Option(help="Processes that compute; default: one for each core.", min=1, max=1024)]
Cluster = Annotated[str | None, typer.Option(help="Compute on the Dask cluster of this scheduler: tcp://HOST:8786.")]
Weights = Annotated[int | None, typer.Option(help="Draw weights from this seed, for .nnef files without any.")]
Verify = Annotated[int, typer.Option(help="Run this many points of the front, best first, on RTL.", min=0)]
VerifyPoint = Annotated[list[str] | None, typer.Option(help="Run this point too: the first digits of its hash.")]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Compute points again that failed.")]


def sweep_command(
    models: Models,
    space: SpaceFile,
    output: Output,
    workers: Workers = None,
    cluster: Cluster = None,
    random_weights: Weights = None,
    verify: Verify = 0,
    verify_point: VerifyPoint = None,
    retry_failed: Retry = False,
) -> None:
    """Compute many accelerators with the cycle model and find the best of them. The same command goes on where it was stopped."""
    from systola.driver.sweep.evaluate import EVALUATION
    from systola.driver.sweep.export import write_csv
    from systola.driver.sweep.run import SweepOptions, sweep

    if verify or verify_point:
        from systola.sim.rtl.tools import check_tools

        check_tools()
    options = SweepOptions(
        tuple(models), space, output, random_weights, verify, tuple(verify_point or ()), retry_failed
    )
    with shown() as (notify, progress):
        results, verified = sweep(options, lambda: executor(workers, cluster), EVALUATION, progress=progress, notify=notify)
    files = [write_csv(results, output), *write_parquet(results, output), *write_html(results, output)]
    _print(results, files)
    wrong = [f"{point.hash} ({v.network}: {v.reason or difference(v)})" for point, v in verified if not v.equal]
    if wrong:
        raise MismatchError(f"RTL does not confirm {len(wrong)} of {len(verified)} runs: {'; '.join(wrong)}")


def sweep_report_command(folder: Annotated[Path, typer.Argument(help="Folder of a sweep.")]) -> None:
    """Write a sweep's report.html anew from its database; also while the sweep runs."""
    from systola.reports.sweep.database import load_results
    from systola.reports.sweep.html import HTML_NAME, write_sweep_html

    write_sweep_html(load_results(folder), folder / HTML_NAME)
    Console().print(str(folder / HTML_NAME), soft_wrap=True)


def executor(workers: int | None, cluster: str | None) -> Executor:
    from systola.driver.sweep.workers import WorkerPool

    if cluster is None:
        return WorkerPool(workers or _cores())
    try:
        from systola.driver.sweep.cluster import DaskExecutor
    except ImportError as error:
        raise ToolError("--cluster needs Dask: pip install 'systola[cluster]'") from error
    return DaskExecutor(cluster)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def difference(verification: Verification) -> str:
    parts = []
    if verification.rtl_cycles != verification.model_cycles:
        parts.append(f"{verification.rtl_cycles} cycles, the model says {verification.model_cycles}")
    elif not verification.counters_equal:
        parts.append("counters differ")
    if verification.bytes_different or not verification.bytes_checked:
        parts.append(f"{verification.bytes_different} of {verification.bytes_checked} bytes differ from golden")
    return ", ".join(parts)


def write_parquet(results: SweepResults, folder: Path) -> list[Path]:
    """The file, where pyarrow is installed."""
    try:
        from systola.driver.sweep.parquet import write_parquet
    except ImportError:
        return []
    return [write_parquet(results, folder)]


def write_html(results: SweepResults, folder: Path, wording: Wording | None = None) -> list[Path]:
    """The report, where Plotly is installed; where not, says so."""
    from systola.reports.sweep.html import HTML_NAME, SWEEP, write_sweep_html

    try:
        write_sweep_html(results, folder / HTML_NAME, wording or SWEEP)
    except ToolError as error:
        Console(stderr=True).print(str(error), style="yellow", markup=False, highlight=False, soft_wrap=True)
        return []
    return [folder / HTML_NAME]


def _print(results: SweepResults, files: list[Path]) -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=PLAIN_WIDTH)
    if results.front:
        from systola.driver.sweep.export import front_table

        console.print(front_table(results))
    else:
        names = ", ".join(objective.metric for objective in results.definition.objectives)
        console.print(f"There is no front: no point has every objective ({names}).")
    counts = {state: len(results.of_state(state)) for state in ("done", "invalid", "failed")}
    console.print(f"{len(results.points):,} points: " + ", ".join(f"{count:,} {state}" for state, count in counts.items()))
    for state in ("invalid", "failed"):
        reasons = Counter(point.reason for point in results.of_state(state))
        for reason, count in reasons.most_common(REASONS_SHOWN):
            console.print(f"  {state}, {count:,}×: {reason}", markup=False, highlight=False, soft_wrap=True)
    console.print("Results: " + ", ".join(map(str, files)), style="dim", soft_wrap=True)


@contextmanager
def shown() -> Iterator[tuple[Callable[[str], None], Progress]]:
    """(notify, progress) on standard error, if that is a terminal. When interrupted, says how to go on."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(), TextColumn("elapsed,"), TimeRemainingColumn(), TextColumn("to go"),
    )  # fmt: skip
    from systola.driver.sweep.outcomes import Progress

    progress = Progress()
    with ProgressBar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, note="")

        def notify(text: str) -> None:
            bar.update(task, description=text)

        def changed(state: Progress) -> None:
            note = ", ".join(f"{count} {name}" for name, count in state.states.items() if count and name != "done")
            bar.update(task, completed=state.ended, total=state.total, note=note)

        progress.changed = changed
        try:
            yield notify, progress
        except KeyboardInterrupt:
            if progress.total:
                console.print(f"{progress.ended:,} of {progress.total:,} points are kept; the same command goes on.")
            raise
