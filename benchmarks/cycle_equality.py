"""The cycle model beside the RTL, on many accelerators: every instruction's begin and end, every engine's class in every cycle,
every counter, or the first difference.

    python benchmarks/cycle_equality.py                                   # all accelerators, all networks, 240 drawn graphs
    python benchmarks/cycle_equality.py --full-size                       # the full-size graphs too
    python benchmarks/cycle_equality.py --only odd_least tiny --drawn 20  # some accelerators
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from catalog import FULL_SPEED, MODELS, Entry, find_model
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from tables import NOTHING, add_output_options, environment, markdown_table, number, seconds, write_results

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from odd_accelerators import MEMORIES, accelerators
from random_networks import convolutions, networks, products

from systola.driver.cycle_check import differences, run_on_rtl
from systola.driver.flow import Options, prepare, with_dram
from systola.driver.open import rtl_settings
from systola.hw.config import Config
from systola.hw.errors import SystolaError
from systola.hw.params import Params
from systola.mapper.compile import compile_network
from systola.mapper.quantgraph import QuantGraph
from systola.sim.cycles.run import run_image
from systola.sim.rtl.session import RtlSession

DRAM_BYTES = 1 << 29
"""Sparse: only what is touched takes memory."""

SAME, NOT_MAPPED = "0", "not mapped"

HEADER = ("accelerator", "network", "memory", "programs", "cycles", "RTL s", "model s", "differences")


@dataclass(frozen=True)
class Case:
    """A network for an accelerator with a memory."""

    name: str
    graph: QuantGraph
    latency_cycles: int
    bytes_per_cycle: int


def _quantized(entry: Entry, known: dict[str, QuantGraph]) -> QuantGraph | None:
    """The network, once made; None if it is not here."""
    folder = find_model(entry)
    if folder is not None and entry.name not in known:
        known[entry.name] = prepare(Options(folder, "base", samples=1, random_weights=entry.random_weights)).graph
    return known.get(entry.name)


def _drawn(count: int, number: int) -> list[QuantGraph]:
    """Graphs drawn by hypothesis, others for each accelerator."""
    graphs: list[QuantGraph] = []

    @seed(1000 + number)
    @settings(max_examples=count, phases=(Phase.generate,), database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(graph=st.one_of(convolutions(), networks(), products()))
    def draw(graph: QuantGraph) -> None:
        graphs.append(graph)

    draw()
    return graphs[:count]


def cases(config: Config, entries: list[Entry], drawn: int, number: int, known: dict[str, QuantGraph]) -> Iterator[Case]:
    """Networks with the description's memory, drawn ones with others."""
    own = (config.dram.latency_cycles, config.dram.bytes_per_cycle)
    for entry in entries:
        graph = _quantized(entry, known)
        if graph is not None:
            yield Case(entry.name, graph, *own)
    for index, (graph, memory) in enumerate(zip(_drawn(drawn, number), cycle((own, *MEMORIES)), strict=False)):
        yield Case(f"drawn {index}", graph, *memory)


def check(
    config: Config, entries: list[Entry], drawn: int, number: int, known: dict[str, QuantGraph]
) -> Iterator[tuple[str, ...]]:
    """A row of HEADER for each case."""
    with RtlSession(Params(config), DRAM_BYTES, rtl_settings(Params(config))) as session:
        for case in cases(config, entries, drawn, number, known):
            yield config.name, case.name, f"{case.latency_cycles}, {case.bytes_per_cycle}", *_check(session, config, case)


def _check(session: RtlSession, config: Config, case: Case) -> tuple[str, ...]:
    params = with_dram(Params(config), case.latency_cycles, case.bytes_per_cycle)
    try:
        image = compile_network(case.graph, params)
    except SystolaError as error:
        return NOTHING, NOTHING, NOTHING, NOTHING, f"{NOT_MAPPED}: {error}"
    session.reload(rtl_settings(params))
    begin = time.perf_counter()
    run = run_on_rtl(session, image, params)
    rtl_seconds = time.perf_counter() - begin
    found = differences(run, image, params)
    begin = time.perf_counter()
    run_image(image, params)
    model_seconds = time.perf_counter() - begin
    return (
        number(len(run.program_cycles)), number(sum(run.program_cycles)), seconds(rtl_seconds), f"{model_seconds:.4f}",
        "; ".join(found[:3]) or SAME,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="ACCELERATOR", help="some of the accelerators")
    parser.add_argument("--networks", nargs="*", metavar="NAME", help="some of the trained networks, or none")
    parser.add_argument("--drawn", type=int, default=240, metavar="N", help="drawn graphs, over all accelerators")
    parser.add_argument("--full-size", action="store_true", help="on base also the full-size graphs (a quarter of an hour)")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    about = environment()
    chosen = {name: config for name, config in accelerators().items() if options.only is None or name in options.only}
    entries = [entry for entry in MODELS if options.networks is None or entry.name in options.networks]
    full = [e for e in FULL_SPEED if e.accel == "base" and e.random_weights is not None and e.dram_bytes_per_cycle is None]
    rows: list[tuple[str, ...]] = []
    known: dict[str, QuantGraph] = {}
    for index, config in enumerate(chosen.values()):
        own = [*entries, *(full if options.full_size and config.name == "base" else ())]
        for row in check(config, own, -(-options.drawn // len(chosen)), index, known):
            rows.append(row)
            if row[-1] != SAME:
                print(*row, sep=" | ", file=sys.stderr, flush=True)
        print(f"{config.name}: {sum(row[0] == config.name for row in rows)} runs", file=sys.stderr, flush=True)
    wrong = [row for row in rows if row[-1] != SAME and not row[-1].startswith(NOT_MAPPED)]
    ran = [row for row in rows if row[-1] == SAME]
    summary = (
        f"{len(ran)} runs on {len(chosen)} accelerators without a difference, {len(wrong)} with; "
        f"{len(rows) - len(ran) - len(wrong)} networks do not fit their accelerator."
    )
    named = [row for row in rows if not row[1].startswith("drawn") or row[-1] != SAME]
    tables = {"In all": summary, "Runs (drawn graphs only where something differs)": markdown_table(HEADER, named, left=2)}
    write_results("Cycle model and RTL", tables, {"header": HEADER, "rows": rows}, about, options)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
