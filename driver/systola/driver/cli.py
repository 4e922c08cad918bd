"""The command line: ``systola run | check | compile | verilog | synth | bridge | sweep | search``.

What takes long to import (Amaranth, matplotlib) is imported where it is used, so that errors and help come at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from systola.driver.board.open import BOARD_HELP
from systola.driver.bridge.command import bridge_command
from systola.driver.flow import Options, prepare, run, with_dram
from systola.driver.open import BACKENDS
from systola.driver.samples import load_samples, stacked
from systola.driver.search.command import search_command
from systola.driver.sweep.command import sweep_command, sweep_report_command
from systola.driver.synth.command import synth_command
from systola.hw.config import load_config
from systola.hw.errors import ConfigError, MismatchError, SystolaError
from systola.hw.params import Params
from systola.mapper.nnef import read_model
from systola.reports.files import output_folder, safe_name, write_array
from systola.reports.model import build_report
from systola.reports.record import RunRecord
from systola.reports.terminal import print_report
from systola.sim.rtl.tools import check_tools

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From NNEF to verified RTL: codesign of neural-network accelerators.",
)
_errors = Console(stderr=True)
PLAIN_WIDTH = 120

Model = Annotated[Path, typer.Argument(help="A folder with graph.nnef, or a .nnef file together with --random-weights.")]
Accel = Annotated[str, typer.Option(help="tiny, small, base, tall, wide, large, or the path of an accelerator.toml.")]
Weights = Annotated[int | None, typer.Option(help="Draw weights from this seed, for a graph without any.")]
Latency = Annotated[int | None, typer.Option(help="Cycles from a DRAM read to its first beat.", min=1, max=4096)]
Rate = Annotated[int | None, typer.Option(help="Bytes that the DRAM moves per cycle.", min=1, max=128)]
Calibration = Annotated[Path | None, typer.Option(help="Samples (.npy) to calibrate a float network on.")]
Method = Annotated[str, typer.Option(help="How ranges are chosen: mse, minmax or percentile.")]
Samples = Annotated[Path | None, typer.Option(help="Samples (.npy), one row each; default: the model's samples/input.npy.")]
Waveform = Annotated[Path | None, typer.Option(help="If a byte differs, write the waveform around it to this file (VCD).")]
Achieved = Annotated[
    str | None, typer.Option("--device", help="Report at the clock reached: by a result of synth (its folder), or on ecp5-85k.")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the results.")]
Folder = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]


@app.command("run")
def run_command(
    model: Model,
    accel: Accel,
    input: Samples = None,
    samples: Annotated[int | None, typer.Option(help="Run this many samples at most.", min=1)] = None,
    backend: Annotated[str, typer.Option(help="rtl, cycles (the model: all cycles, no data), interp, golden or board.")] = "rtl",
    random_weights: Weights = None,
    dram_latency: Latency = None,
    dram_bytes_per_cycle: Rate = None,
    calibration: Calibration = None,
    method: Method = "mse",
    board: Annotated[str | None, typer.Option(help=f"Run on hardware: {BOARD_HELP}.")] = None,
    spill: Annotated[bool, typer.Option(help="Send every tensor to memory, so that every one is compared.")] = False,
    waveform: Waveform = None,
    device: Achieved = None,
    output: Output = None,
    json: Annotated[bool, typer.Option("--json", help="Print report.json instead of the tables.")] = False,
) -> None:
    """Run a network on the accelerator, compare every byte with golden, and report."""
    if backend not in BACKENDS:
        raise ConfigError(f"there is no backend '{backend}': give one of {', '.join(BACKENDS)}")
    backend = _with_board(backend, board)
    if backend == "rtl":
        check_tools()
    options = Options(model, accel, input, calibration, samples, backend, random_weights, dram_latency, dram_bytes_per_cycle,
                      method, not spill, board, device=device)  # fmt: skip
    with _progress() as (notify, advance):
        record = run(options, notify, advance)
        report = build_report(record)
        if output is not None:
            from systola.reports.write import write_report

            notify("writing the report")
            write_report(report, record, output_folder(output))
            _write_outputs(record, output)
    if json:
        print(report.model_dump_json(indent=2))
    else:
        print_report(report, _console())
        if output is not None:
            Console().print(f"Report: {output / 'report.html'}", style="dim", soft_wrap=True)
    if not record.check.bit_exact:
        raise _mismatch(options, record, waveform)


def _with_board(backend: str, board: str | None) -> str:
    """The backend: a named board is one, and needs no other."""
    if board is None and backend == "board":
        raise ConfigError(f"the backend board needs to know which: give --board, {BOARD_HELP}")
    if board is not None and backend not in ("rtl", "board"):
        raise ConfigError(f"--board runs on hardware, --backend {backend} does not: give one of them")
    return "board" if board is not None else backend


def _mismatch(options: Options, record: RunRecord, waveform: Path | None) -> MismatchError:
    """The error for a run that is not bit-exact, with the place of the first difference."""
    from systola.driver.bisect import find_difference

    _errors.print("some bytes differ from golden; looking for the first one …")
    params = with_dram(Params(record.config), None, None)
    graph = read_model(options.model, random_weights=options.random_weights)
    folder = options.model if options.model.is_dir() else options.model.parent
    samples = load_samples(graph, folder, options.input, options.calibration, 1) if options.random_weights is None else None
    count = sum(record.check.mismatches.values())
    if samples is None:
        return MismatchError(f"{count} bytes differ from golden, in {', '.join(record.check.mismatches)}")
    inputs = {name: codes[0] for name, codes in stacked(record.graph, samples).items()}
    difference = find_difference(record.graph, params, inputs, record.backend, waveform, board=options.board)
    place = difference or f"only with tensors kept on chip; the wrong ones are {', '.join(record.check.mismatches)}"
    return MismatchError(f"{count} bytes differ from golden: {place}")


def _write_outputs(record: RunRecord, folder: Path) -> None:
    """outputs/NAME.npy: real values; NAME.codes.npy: the raw integers, of the type that the source has."""
    home = output_folder(folder / "outputs")
    for name, values in record.outputs.items():
        tensor = record.graph.tensors[name]
        if tensor.is_float:
            write_array(home / f"{safe_name(name)}.npy", values.reshape(-1, *tensor.shape[1:]).astype(np.float32))
            continue
        codes = values.reshape(-1, *tensor.shape[1:])
        real = ((codes.astype(np.float64) - tensor.zero_point) * tensor.scale).astype(np.float32)
        write_array(home / f"{safe_name(name)}.npy", real)
        raw = (codes.astype(np.int16) + 128).astype(np.uint8) if tensor.unsigned else codes
        write_array(home / f"{safe_name(name)}.codes.npy", raw)


@app.command()
def check(
    model: Model,
    accel: Accel,
    random_weights: Weights = None,
    calibration: Calibration = None,
) -> None:
    """Say what maps to the accelerator, what runs on the host and why, and whether it fits. Nothing is simulated."""
    with _progress() as (notify, _):
        options = Options(model, accel, calibration=calibration, random_weights=random_weights)
        network = prepare(options, notify, need_samples=False)
    image = network.image
    table = Table("layer", "unit", "kind", "output", "MACs", "remark", title=f"{image.name} on {network.params.config.name}")
    for layer in image.layers:
        macs = f"{layer.macs:,}" if layer.macs else ""
        table.add_row(layer.name, layer.unit, layer.kind, "×".join(map(str, layer.shape)), macs, layer.note)
    console = _console()
    console.print(table)
    memory = network.params.config.memory
    on_host = sum(layer.unit == "host" for layer in image.layers)
    console.print(
        f"{len(image.layers) - on_host} layers on the accelerator, {on_host} on the host; {image.memory_bytes:,} bytes of DRAM; "
        f"every tile fits {memory.scratchpad_bytes:,} bytes of scratchpad and {memory.accumulator_bytes:,} of accumulators."
    )
    for note in network.graph.notes:
        console.print(f"note: {note}")


@app.command("compile")
def compile_command(
    model: Model,
    accel: Accel,
    output: Folder,
    random_weights: Weights = None,
    calibration: Calibration = None,
) -> None:
    """Write the image (memory, programs), its manifest, a readable listing, and the C files for firmware."""
    with _progress() as (notify, _):
        options = Options(model, accel, calibration=calibration, random_weights=random_weights)
        network = prepare(options, notify, need_samples=False)
        from systola.driver.artifacts import write_image

        notify("writing the image")
        files = write_image(network.image, network.graph, network.params, output_folder(output))
    for path in files:
        Console().print(str(path), soft_wrap=True)


@app.command()
def verilog(
    accel: Accel,
    output: Folder,
    flat: Annotated[bool, typer.Option("--flat", help="Also write it as one module, for simulation: takes longer.")] = False,
) -> None:
    """Write the accelerator's synthesizable Verilog, with projects, constraints and documentation for other tools."""
    params = Params(load_config(accel))
    with _progress() as (notify, _):
        from systola.driver.artifacts import write_verilog

        notify(f"writing Verilog for {params.config.name}")
        files = write_verilog(params, output_folder(output), flat=flat)
    for path in files:
        Console().print(str(path), soft_wrap=True)


app.command("synth")(synth_command)
app.command("bridge")(bridge_command)
app.command("sweep")(sweep_command)
app.command("sweep-report")(sweep_report_command)
app.command("search")(search_command)


def _console() -> Console:
    """Standard output; where it is no terminal, as wide as the tables need."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


@contextmanager
def _progress() -> Iterator[tuple[Callable[[str], None], Callable[[int, int, int], None]]]:
    """(notify, advance): what is being done, and how far samples are; on a terminal's standard error only."""
    what, detail = TextColumn("{task.description}"), TextColumn("{task.fields[detail]}")
    columns = (SpinnerColumn(), what, BarColumn(), detail, TimeElapsedColumn())
    with Progress(*columns, console=_errors, transient=True, disable=not _errors.is_terminal) as progress:
        task = progress.add_task("", total=None, detail="")

        def notify(text: str) -> None:
            progress.update(task, description=text, total=None, detail="")

        def advance(sample: int, samples: int, cycles: int) -> None:
            detail = f"{cycles:,} cycles" if cycles else f"{sample + 1}/{samples}"
            progress.update(task, completed=sample + (cycles == 0), total=samples, detail=detail)

        yield notify, advance


def main() -> None:
    """Entry point: errors go to standard error as one paragraph, with exit status 1."""
    try:
        app()
    except SystolaError as error:
        _errors.print(f"systola: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        _errors.print("systola: stopped", style="red")
        sys.exit(130)


if __name__ == "__main__":
    main()
