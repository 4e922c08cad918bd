"""The command line as a user meets it: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "model"
MOST_SECONDS = 2.0
MOST_KILOBYTES = 512 * 1024

# The command in a process of its own, which leaves its peak memory and processor time in a file. (A child's getrusage would
# begin with its parent's peak.)
PROGRAM = """
import atexit, sys, time
from pathlib import Path
def tell(path=sys.argv.pop(1)):
    peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    Path(path).write_text(f"{peak} {time.process_time()}")
atexit.register(tell)
from systola.driver.cli import main
main()
"""


@dataclass
class Ended:
    """A command that ended: ``status``, what it printed, peak memory in KiB and processor time in seconds."""

    status: int
    out: str
    err: str
    kilobytes: int
    seconds: float


def systola(folder: Path, *arguments: str | Path) -> Ended:
    """Run a command in ``folder``."""
    measured = folder.parent / f"{folder.name}.measured"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(measured), *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    kilobytes, seconds = measured.read_text(encoding="utf-8").split()
    return Ended(done.returncode, done.stdout, done.stderr, int(kilobytes), float(seconds))


def tree(folder: Path) -> set[str]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty folder to work in, below one that nothing may be written to."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


# ---- What it does ----


@pytest.mark.parametrize("backend", ["interp", "golden"])
def test_run_writes_report_and_outputs(work: Path, backend: str) -> None:
    done = systola(work, "run", DIGITS, "--accel", "tiny", "--backend", backend, "--samples", "5", "-o", "out/here", "--json")
    assert done.status == 0, done.err
    assert tree(work) == {"out/here/report.json", "out/here/report.html", "out/here/outputs/probability.npy"}
    report = json.loads(done.out)
    assert report == json.loads((work / "out/here/report.json").read_text(encoding="utf-8"))
    for key in (
        "network", "accelerator", "backend", "samples", "bit_exact", "tensors_checked", "bytes_checked", "cycles_total", "macs",
        "utilization", "layers", "latency_s", "energy_j", "power_w", "top1_agreement", "host_ops", "sim_cycles_per_second",
    ):  # fmt: skip
        assert key in report
    assert (report["backend"], report["samples"]) == (backend, 5)
    assert report["bit_exact"] is (True if backend == "interp" else None)
    outputs = np.load(work / "out/here/outputs/probability.npy", allow_pickle=False)
    assert outputs.shape == (5, 10) and outputs.dtype == np.float32
    reference = np.load(DIGITS / "samples" / "ref_output.npy")[:5]
    assert np.abs(outputs - reference).max() < 0.1
    assert (outputs.argmax(1) == reference.argmax(1)).all()
    html = (work / "out/here/report.html").read_text(encoding="utf-8")
    assert "<html" in html and "src=\"http" not in html


def test_run_prints_tables(work: Path) -> None:
    done = systola(work, "run", DIGITS, "--accel", "tiny", "--backend", "interp", "--samples", "2")
    assert done.status == 0, done.err
    assert "digits" in done.out and "depthwise" in done.out and "Exact" in done.out
    assert tree(work) == set()


def test_given_input_and_spill(work: Path) -> None:
    rows = np.load(DIGITS / "samples" / "input.npy")[7:10]
    np.save(work / "x.npy", rows)
    done = systola(
        work, "run", DIGITS, "--accel", "small", "--backend", "interp", "--input", "x.npy", "--spill", "-o", "o", "--json",
        "--dram-latency", "7", "--dram-bytes-per-cycle", "3",
    )  # fmt: skip
    assert done.status == 0, done.err
    report = json.loads(done.out)
    assert report["samples"] == 3 and report["bit_exact"] is True and report["top1_agreement"] is None
    kept = json.loads(systola(work, "run", DIGITS, "--accel", "small", "--backend", "interp", "--input", "x.npy", "--json").out)
    assert report["tensors_checked"] > kept["tensors_checked"]
    everything = np.load(DIGITS / "samples" / "ref_output.npy")[7:10]
    assert (np.load(work / "o/outputs/probability.npy").argmax(1) == everything.argmax(1)).all()


def test_quantized_models_also_write_codes(work: Path, models: Path) -> None:
    done = systola(work, "run", models / "kws_int8", "--accel", "base", "--backend", "golden", "--samples", "3", "-o", "o")
    assert done.status == 0, done.err
    names = {path.name for path in (work / "o/outputs").iterdir()}
    (values,) = (name for name in names if not name.endswith(".codes.npy"))
    codes = np.load(work / "o/outputs" / values.replace(".npy", ".codes.npy"))
    reference = np.load(models / "kws_int8/samples/ref_output.npy")[:3]
    assert codes.dtype == reference.dtype and codes.shape == reference.shape
    assert (codes.argmax(1) == reference.argmax(1)).all()


def test_random_weights(work: Path) -> None:
    (work / "net.nnef").write_text((DIGITS / "graph.nnef").read_text(encoding="utf-8"), encoding="utf-8")
    arguments = ("run", "net.nnef", "--accel", "tiny", "--backend", "interp", "--json", "--samples", "2", "-o")
    first = systola(work, *arguments, "a", "--random-weights", "5")
    assert first.status == 0, first.err
    assert json.loads(first.out)["bit_exact"] is True
    assert systola(work, *arguments, "b", "--random-weights", "5").status == 0
    assert systola(work, *arguments, "c", "--random-weights", "6").status == 0
    a, b, c = (np.load(work / name / "outputs/probability.npy") for name in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_check_says_what_maps(work: Path) -> None:
    done = systola(work, "check", DIGITS, "--accel", "tiny")
    assert done.status == 0, done.err
    assert "softmax" in done.out and "host" in done.out and "depthwise" in done.out and "scratchpad" in done.out
    assert tree(work) == set()


def test_compile_writes_image_manifest_and_listing(work: Path) -> None:
    done = systola(work, "compile", DIGITS, "--accel", "base", "-o", "image")
    assert done.status == 0, done.err
    firmware = ("systola.h", "systola_driver.h", "systola_driver.c", "systola_linux.h", "systola_linux.c", "systola_bridge.h",
                "systola_bridge.c", "systola_mailbox.h", "network.h")  # fmt: skip
    written = {"image/image.bin", "image/manifest.json", "image/listing.txt", *(f"image/c/{name}" for name in firmware)}
    assert tree(work) == written
    manifest = json.loads((work / "image/manifest.json").read_text(encoding="utf-8"))
    assert manifest["initial_bytes"] == (work / "image/image.bin").stat().st_size <= manifest["memory_bytes"]
    streams = [stream for step in manifest["steps"] for stream in step.get("streams", {}).items()]
    assert {name for name, _ in streams} >= {"load", "store"}
    listing = (work / "image/listing.txt").read_text(encoding="utf-8")
    assert "LOAD" in listing.upper() and "STORE" in listing.upper()


@pytest.mark.slow
def test_verilog(work: Path) -> None:
    done = systola(work, "verilog", "--accel", "tiny", "-o", "rtl")
    assert done.status == 0, done.err
    assert tree(work) == {str(Path(line)) for line in done.out.splitlines()}
    assert {"rtl/rtl/systola.v", "rtl/rtl/systola_axi.v", "rtl/systola.core", "rtl/systola.h"} <= tree(work)


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("check", "--help"), ("compile", "--help")])
def test_help(work: Path, arguments: tuple[str, ...]) -> None:
    done = systola(work, *arguments)
    assert (done.status == 0 and "--accel" in done.out) or arguments == ("--help",)


# ---- How it refuses ----


def digits(work: Path) -> Path:
    """A copy of the example to spoil."""
    return Path(shutil.copytree(DIGITS, work / "model"))


def edited(work: Path, old: str, new: str) -> tuple[str, ...]:
    """check of the example with a piece of its graph replaced."""
    graph = digits(work) / "graph.nnef"
    text = graph.read_text(encoding="utf-8")
    assert old in text
    graph.write_text(text.replace(old, new, 1), encoding="utf-8")
    return ("check", "model", "--accel", "tiny")


def graph_text(work: Path, body: str, result: str = "y") -> tuple[str, ...]:
    """check of a graph with random weights."""
    text = f"version 1.0;\ngraph net(x) -> ({result})\n{{\n{body}\n}}\n"
    (work / "net.nnef").write_text(text, encoding="utf-8")
    return ("check", "net.nnef", "--accel", "tiny", "--random-weights", "1")


def no_model(work: Path) -> tuple[str, ...]:
    return ("run", "nowhere", "--accel", "tiny", "--backend", "interp")


def folder_without_graph(work: Path) -> tuple[str, ...]:
    (work / "model").mkdir()
    return ("check", "model", "--accel", "tiny")


def missing_data(work: Path) -> tuple[str, ...]:
    (digits(work) / "conv2_filter.dat").unlink()
    return ("check", "model", "--accel", "tiny")


def truncated_data(work: Path) -> tuple[str, ...]:
    path = digits(work) / "conv2_filter.dat"
    path.write_bytes(path.read_bytes()[:-3])
    return ("compile", "model", "--accel", "tiny", "-o", "out")


def truncated_header(work: Path) -> tuple[str, ...]:
    path = digits(work) / "conv2_filter.dat"
    path.write_bytes(path.read_bytes()[:50])
    return ("check", "model", "--accel", "tiny")


def oversized_header(work: Path) -> tuple[str, ...]:
    path = digits(work) / "conv2_filter.dat"
    data = bytearray(path.read_bytes())
    data[4:8] = (0xFFFFFFF0).to_bytes(4, "little")  # length of the data
    data[12:28] = b"\xff\xff\xff\x7f" * 4  # extents
    path.write_bytes(data)
    return ("check", "model", "--accel", "tiny")


def label_outside(work: Path) -> tuple[str, ...]:
    shutil.copy(DIGITS / "conv2_filter.dat", work / "secret.dat")
    return edited(work, "label = 'conv2_filter'", "label = '../secret'")


def unknown_operation(work: Path) -> tuple[str, ...]:
    return edited(work, "relu(conv1)", "frobnicate(conv1)")


def cycle(work: Path) -> tuple[str, ...]:
    return graph_text(work, "x = external<scalar>(shape = [1, 4, 8, 8]);\na = relu(b);\nb = relu(a);\ny = add(b, x);")


def undefined_name(work: Path) -> tuple[str, ...]:
    return edited(work, "relu(conv1)", "relu(conv9)")


def twice(work: Path) -> tuple[str, ...]:
    return graph_text(work, "x = external<scalar>(shape = [1, 4, 8, 8]);\ny = relu(x);\ny = relu(x);")


def absurd_shape(work: Path) -> tuple[str, ...]:
    return graph_text(work, "x = external<scalar>(shape = [1, 400000, 80000, 80000]);\ny = relu(x);")


def absurd_product(work: Path) -> tuple[str, ...]:
    body = (
        "x = external<scalar>(shape = [1, 4, 8, 8]);\nw = variable<scalar>(shape = [900000, 4, 900, 900], label = 'w');\n"
        "y = conv(x, w);"
    )
    return graph_text(work, body)


def absurd_padding(work: Path) -> tuple[str, ...]:
    return graph_text(work, "x = external<scalar>(shape = [1, 4, 8, 8]);\ny = max_pool(x, size = [1, 1, 3, 3], "
                            "padding = [(0,0), (0,0), (99999999,99999999), (99999999,99999999)]);")  # fmt: skip


def syntax(work: Path) -> tuple[str, ...]:
    return edited(work, "relu(conv1);", "relu(conv1;")


def deep_nesting(work: Path) -> tuple[str, ...]:
    return graph_text(work, "x = external<scalar>(shape = [1, 4, 8, 8]);\ny = " + "relu(" * 5000 + "x" + ")" * 5000 + ";")


def cannot_fit(work: Path) -> tuple[str, ...]:
    """A window of 200 × 200 over one channel: the rows that one output needs are more than tiny's 16 KiB."""
    return graph_text(work, "x = external<scalar>(shape = [1, 1, 260, 260]);\ny = max_pool(x, size = [1, 1, 200, 200], "
                            "padding = [(0,0), (0,0), (0,0), (0,0)], stride = [1, 1, 1, 1]);")  # fmt: skip


def input_of_wrong_shape(work: Path) -> tuple[str, ...]:
    np.save(work / "x.npy", np.zeros((3, 1, 9, 9), np.float32))
    return ("run", str(DIGITS), "--accel", "tiny", "--backend", "interp", "--input", "x.npy", "-o", "out")


def input_of_wrong_type(work: Path) -> tuple[str, ...]:
    np.save(work / "x.npy", np.zeros((3, 1, 8, 8), np.complex64))
    return ("run", str(DIGITS), "--accel", "tiny", "--backend", "interp", "--input", "x.npy", "-o", "out")


def input_not_finite(work: Path) -> tuple[str, ...]:
    rows = np.zeros((3, 1, 8, 8), np.float32)
    rows[1, 0, 3, 4] = np.nan
    np.save(work / "x.npy", rows)
    return ("run", str(DIGITS), "--accel", "tiny", "--backend", "interp", "--input", "x.npy", "-o", "out")


def input_pickled(work: Path) -> tuple[str, ...]:
    np.save(work / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return ("run", str(DIGITS), "--accel", "tiny", "--backend", "interp", "--input", "x.npy", "-o", "out")


def input_truncated(work: Path) -> tuple[str, ...]:
    np.save(work / "x.npy", np.zeros((3, 1, 8, 8), np.float32))
    (work / "x.npy").write_bytes((work / "x.npy").read_bytes()[:-7])
    return ("run", str(DIGITS), "--accel", "tiny", "--backend", "interp", "--input", "x.npy", "-o", "out")


def input_absent(work: Path) -> tuple[str, ...]:
    return ("run", str(DIGITS), "--accel", "tiny", "--backend", "interp", "--input", "x.npy", "-o", "out")


def no_samples(work: Path) -> tuple[str, ...]:
    shutil.rmtree(digits(work) / "samples")
    return ("run", "model", "--accel", "tiny", "--backend", "interp", "-o", "out")


def reference_of_wrong_rows(work: Path) -> tuple[str, ...]:
    np.save(digits(work) / "samples" / "ref_output.npy", np.zeros((3, 10), np.float32))
    return ("run", "model", "--accel", "tiny", "--backend", "interp", "-o", "out")


def accelerator(work: Path, text: str) -> tuple[str, ...]:
    (work / "mine.toml").write_text(text, encoding="utf-8")
    return ("check", str(DIGITS), "--accel", "mine.toml")


def no_accelerator(work: Path) -> tuple[str, ...]:
    return ("check", str(DIGITS), "--accel", "enormous")


def unknown_field(work: Path) -> tuple[str, ...]:
    return accelerator(work, 'name = "mine"\n[array]\nrows = 8\ncolumns = 8\ncolour = "red"\n')


def out_of_range(work: Path) -> tuple[str, ...]:
    return accelerator(work, 'name = "mine"\n[array]\nrows = 3\ncolumns = 8\n')


def no_toml(work: Path) -> tuple[str, ...]:
    return accelerator(work, "name = mine\n")


def unknown_backend(work: Path) -> tuple[str, ...]:
    return ("run", str(DIGITS), "--accel", "tiny", "--backend", "magic")


def unknown_board(work: Path) -> tuple[str, ...]:
    return ("run", str(DIGITS), "--accel", "tiny", "--board", "moon", "-o", "out")


def board_without_name(work: Path) -> tuple[str, ...]:
    return ("run", str(DIGITS), "--accel", "tiny", "--backend", "board", "-o", "out")


def board_and_backend(work: Path) -> tuple[str, ...]:
    return ("run", str(DIGITS), "--accel", "tiny", "--backend", "interp", "--board", "uio", "-o", "out")


def bitstream_without_description(work: Path) -> tuple[str, ...]:
    (work / "tiny.bit").write_bytes(b"")
    return ("run", str(DIGITS), "--accel", "tiny", "--board", "tiny.bit", "-o", "out")


def bridge_nobody_serves(work: Path) -> tuple[str, ...]:
    (work / "bridge").mkdir()
    return ("run", str(DIGITS), "--accel", "tiny", "--board", "bridge", "-o", "out")


def unknown_method(work: Path) -> tuple[str, ...]:
    return ("run", str(DIGITS), "--accel", "tiny", "--backend", "interp", "--method", "magic", "-o", "out")


def output_below_a_file(work: Path) -> tuple[str, ...]:
    (work / "file").write_text("", encoding="utf-8")
    return ("compile", str(DIGITS), "--accel", "tiny", "-o", "file/out")


def output_is_a_file(work: Path) -> tuple[str, ...]:
    (work / "file").write_text("", encoding="utf-8")
    return ("compile", str(DIGITS), "--accel", "tiny", "-o", "file")


def output_cannot_be_written(work: Path) -> tuple[str, ...]:
    """A folder stands where a file has to go (rights would not stop an administrator)."""
    (work / "out" / "image.bin").mkdir(parents=True)
    return ("compile", str(DIGITS), "--accel", "tiny", "-o", "out")


REFUSALS: list[tuple[Callable[[Path], tuple[str, ...]], str]] = [
    (no_model, r"nowhere"),
    (folder_without_graph, r"model/graph\.nnef|model: .*graph\.nnef"),
    (missing_data, r"conv2_filter\.dat"),
    (truncated_data, r"conv2_filter\.dat"),
    (truncated_header, r"conv2_filter\.dat"),
    (oversized_header, r"conv2_filter\.dat"),
    (label_outside, r"graph\.nnef.*\.\./secret"),
    (unknown_operation, r"graph\.nnef:9:\d+: .*frobnicate"),
    (cycle, r"net\.nnef:5:\d+: .*b"),
    (undefined_name, r"graph\.nnef:9:\d+: .*conv9"),
    (twice, r"net\.nnef:6:\d+: .*y"),
    (absurd_shape, r"net\.nnef:4:\d+: "),
    (absurd_product, r"net\.nnef:5:\d+: "),
    (absurd_padding, r"net\.nnef:5:\d+: "),
    (syntax, r"graph\.nnef:9:\d+: "),
    (deep_nesting, r"net\.nnef:5"),
    (cannot_fit, r"y.*16,?384|y.*scratchpad|y.*16 KiB"),
    (input_of_wrong_shape, r"x\.npy: .*\[3, 1, 9, 9\]"),
    (input_of_wrong_type, r"x\.npy: .*complex64"),
    (input_not_finite, r"x\.npy: .*(NaN|finite)"),
    (input_pickled, r"x\.npy: "),
    (input_truncated, r"x\.npy: "),
    (input_absent, r"x\.npy: "),
    (no_samples, r"model: .*--input"),
    (reference_of_wrong_rows, r"ref_output\.npy: .*3 rows"),
    (no_accelerator, r"'enormous'.*tiny"),
    (unknown_field, r"mine\.toml.*array\.colour"),
    (out_of_range, r"mine\.toml.*array\.rows.*3"),
    (no_toml, r"mine\.toml.*TOML"),
    (unknown_backend, r"'magic'.*rtl, cycles, interp, golden"),
    (unknown_board, r"no board 'moon': give uio"),
    (board_without_name, r"board needs to know which: give --board, uio"),
    (board_and_backend, r"--board runs on hardware, --backend interp does not"),
    (bitstream_without_description, r"tiny\.hwh: PYNQ needs"),
    (bridge_nobody_serves, r"no bridge is in bridge: start one"),
    (unknown_method, r"'magic'.*minmax"),
    (output_below_a_file, r"file/out"),
    (output_is_a_file, r"file"),
    (output_cannot_be_written, r"out/image\.bin"),
]


@pytest.mark.parametrize(("spoil", "said"), REFUSALS, ids=[spoil.__name__ for spoil, _ in REFUSALS])
def test_refusal(work: Path, spoil: Callable[[Path], tuple[str, ...]], said: str) -> None:
    arguments = spoil(work)
    before = tree(work.parent)
    done = systola(work, *arguments)
    assert done.status == 1, done.err
    assert done.out == ""
    assert done.err.startswith("systola: ") and "Traceback" not in done.err
    assert "\n\n" not in done.err.strip() and len(done.err) < 1500, "one paragraph"
    assert re.search(said, done.err, re.DOTALL), done.err
    assert tree(work.parent) - before == {"work.measured"}, "something was written"
    assert done.seconds < MOST_SECONDS and done.kilobytes < MOST_KILOBYTES


@pytest.mark.parametrize("arguments", [("run", str(DIGITS)), ("run", str(DIGITS), "--accel", "tiny", "--samples", "0"), ("fly",)])
def test_wrong_usage(work: Path, arguments: Any) -> None:
    done = systola(work, *arguments)
    assert done.status == 2 and "Traceback" not in done.err and done.err
