"""The machine at full speed: every target beside its figure, in one command.

    python benchmarks/full_speed.py                    # everything: half an hour, and builds of four accelerators
    python benchmarks/full_speed.py --quick            # the small networks, three drawn ones
    python benchmarks/full_speed.py --only resnet50_bnfolded --only drawn
    python benchmarks/full_speed.py --publish          # everything, then reports/published/ and the README's table
    python benchmarks/full_speed.py --from FILE.json --markdown FILE.md    # nothing is run
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from catalog import FULL_SPEED, ROOT, Entry, accelerator_source, find_model
from full_speed_tables import readme_with, tables
from measure import in_process
from networks import measured
from random_graphs import random_graph
from tables import add_output_options, environment, write_results

__all__ = ["limited", "main", "missed", "side_by_side"]

QUICK = ("resnet8_int8", "kws_int8", "vww_int8", "ad_int8")
DRAWN = 30
QUICK_DRAWN = 3
DRAWN_NAME, ALONE_NAME = "drawn", "array_alone"
REPEATS, INFERENCES = 7, 10
LEAST_RATIO = 0.6
LEAST_CYCLES_PER_SECOND = 300_000
PUBLISHED = ROOT / "reports" / "published"
README = ROOT / "README.md"

Figures = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 if something failed, differs from golden, or misses a target in cycles. Machines differ in seconds."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.publish:
        if options.only or options.accel or options.quick or options.backend != "rtl":
            parser.error("--publish is for all figures: leave out --only, --accel, --quick and --backend")
        options.markdown = options.markdown or PUBLISHED / "full-speed.md"
        options.json = options.json or PUBLISHED / "full-speed.json"
    if options.source is not None:
        figures = json.loads(options.source.read_text(encoding="utf-8"))
        about = figures.pop("environment")
        figures.pop("benchmark", None)
    else:
        about = environment()
        figures = _measure(options)
    write_results("Full speed", tables(figures), figures, about, options)
    if options.publish:
        README.write_text(readme_with(README.read_text(encoding="utf-8"), figures, about), encoding="utf-8")
    return int(missed(figures))


def missed(figures: Figures) -> bool:
    """Something failed, differs, or takes more cycles than asked; or nothing was run."""
    rows = [*figures["networks"], *figures["drawn"]]
    bad = any("error" in row or not row["bit_exact"] or row["goal_met"] is False for row in rows)
    alone = figures["array_alone"]
    return bad or not (rows or alone) or (alone is not None and ("error" in alone or not alone["array_right"]))


def _measure(options: argparse.Namespace) -> Figures:
    entries = [entry for entry in FULL_SPEED if _chosen(entry.name, options, entry.name in QUICK)]
    entries = [entry for entry in entries if options.accel in (None, entry.accel)]
    found = [(entry, find_model(entry)) for entry in entries]
    for name in [entry.label for entry, path in found if path is None]:
        _tell(f"{name}: not here; set SYSTOLA_MODELS to the folder of networks")
    networks = [_network(entry, path, options.backend) for entry, path in found if path is not None]
    drawn = []
    if _chosen(DRAWN_NAME, options, True):
        drawn = [_drawn(seed, options.backend) for seed in range(QUICK_DRAWN if options.quick else DRAWN)]
    alone = None
    if options.backend == "rtl" and _chosen(ALONE_NAME, options, True):
        _tell("the array alone, beside the accelerator")
        alone = side_by_side(1 if options.quick else REPEATS)
    return {
        "networks": networks, "drawn": drawn, "array_alone": alone,
        "absent": [entry.label for entry, path in found if path is None],
    }  # fmt: skip


def _chosen(name: str, options: argparse.Namespace, quick: bool) -> bool:
    if options.only:
        return name in options.only
    return quick or not options.quick


def _network(entry: Entry, path: Path, backend: str) -> Figures:
    build: Figures = {}
    if backend == "rtl":
        _tell(f"simulation of {entry.accel}")
        build = in_process("build", {"accel": accelerator_source(entry.accel)})  # what is wrong with it, the run says again
    _tell(f"{entry.label} on {entry.accel}")
    row = measured(entry, path, backend, spill=False) | {"accelerator": entry.accel}
    _tell(row["error"] if "error" in row else f"  {row['cycles_per_inference']} cycles in {row['seconds_total']:.0f} s")
    if build.get("built"):
        row["build_seconds"] = build["seconds"]
    return row if "error" in row else limited(row, entry)


def limited(row: Figures, entry: Entry) -> Figures:
    """A row with what its run may take of seconds and bytes, and the figures that are held against that."""
    stages = row["seconds"]
    figures = {
        "compile": stages["compile"],
        "golden": stages["golden"] / row["samples"],
        "run": row["seconds_total"],
        "memory": row["peak_memory_bytes"] + row["peak_memory_simulator_bytes"],
    }
    return row | {"random_weights": entry.random_weights, "used": figures, "most": dict(entry.most)}


def _drawn(seed: int, backend: str) -> Figures:
    """A drawn network on base; its weights come from the same seed."""
    _tell(f"drawn network {seed}")
    with tempfile.TemporaryDirectory(prefix="systola-drawn-") as folder:
        path = Path(folder) / "drawn.nnef"
        path.write_text(random_graph(seed), encoding="utf-8")
        row = measured(Entry(f"drawn {seed}", "", samples=1, random_weights=seed), path, backend, spill=False)
    if "error" in row:
        row["error"] = row["error"].replace(folder, "")
    return row


def side_by_side(repeats: int) -> Figures:
    """ResNet8 on the whole accelerator and the array alone, by turns; cycles per second, medians."""
    entry = next(each for each in FULL_SPEED if each.name == "resnet8_int8")
    path = find_model(entry)
    if path is None:
        return {"error": "resnet8_int8 is not here: set SYSTOLA_MODELS to the folder of networks"}
    found = in_process(
        "side_by_side", {"model": str(path), "accel": "base", "repeats": repeats, "inferences": INFERENCES}
    )  # fmt: skip
    if "error" in found:
        return found
    rates: Figures = {}
    for which in ("accelerator", "array"):
        for key, duration in (("wall", "seconds"), ("cpu", "simulator_cpu_seconds")):
            rates[f"{which}_{key}"] = median(run["cycles"] / run[duration] for run in found[which])
    ratio = rates["accelerator_wall"] / rates["array_wall"]
    return found | {
        "rates": rates, "ratio": ratio, "ratio_cpu": rates["accelerator_cpu"] / rates["array_cpu"],
        "least_ratio": LEAST_RATIO, "least_cycles_per_second": LEAST_CYCLES_PER_SECOND,
    }  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Every target of the machine at full speed, beside its figure.")
    names = sorted({*(entry.name for entry in FULL_SPEED), DRAWN_NAME, ALONE_NAME})
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}; repeatable")
    parser.add_argument("--accel", help="of the named networks only what runs on this accelerator")
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK)}, {QUICK_DRAWN} drawn networks, no repetitions")
    parser.add_argument("--backend", choices=("rtl", "interp"), default="rtl", help="interp: exactness without cycles")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="tables of figures written before; runs nothing")
    parser.add_argument(
        "--publish", action="store_true", help="write reports/published/full-speed.md and .json, and the README's table"
    )
    add_output_options(parser)
    return parser


def _tell(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
