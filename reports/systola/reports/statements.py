"""The report's findings as short sentences, the same on the terminal and in HTML."""

from __future__ import annotations

from systola.reports.schema import Report
from systola.reports.words import bounded, count_text, percent, quantity

__all__ = ["statements"]


def statements(report: Report) -> list[tuple[str, str]]:
    """(subject, sentence), in order of interest; what was not measured is left out."""
    lines = [
        ("Exact", _exact(report)),
        ("Latency", _latency(report)),
        ("Array", _array(report)),
        ("Energy", _energy(report)),
        ("Accuracy", _accuracy(report)),
        ("Host", _host(report)),
        ("Simulation", _simulation(report)),
        ("Most help", report.advice.text if report.advice is not None else ""),
    ]
    return [(subject, text) for subject, text in lines if text]


def _exact(r: Report) -> str:
    if r.bit_exact is None:
        return "nothing was compared: " + ("the cycle model has no data" if r.cycles_total else "this backend is golden itself")
    over = f"{r.samples} sample{'s' if r.samples > 1 else ''}"
    if r.bit_exact:
        kept = f"; {len(r.on_chip)} more never left the chip" if r.on_chip else ""
        return f"all {r.bytes_checked:,} bytes of {r.tensors_checked} tensors equal golden, over {over}{kept}"
    wrong = ", ".join(f"{name} ({count:,})" for name, count in list(r.mismatches.items())[:4])
    return f"NO: {sum(r.mismatches.values()):,} of {r.bytes_checked:,} bytes differ from golden, over {over}: {wrong}"


def _latency(r: Report) -> str:
    if r.cycles_total is None or r.latency_s is None:
        return "not known: this backend has no time"
    mhz = r.accelerator["clock"]["frequency_mhz"]
    varies = r.cycles_min != r.cycles_max
    spread = f" ({count_text(r.cycles_min)} … {count_text(r.cycles_max)} over the samples)" if varies else ""
    memory = f"DRAM {r.dram_bytes_per_cycle:g} bytes a cycle, {r.dram_latency_cycles} cycles latency"
    if r.backend == "board":
        memory = "the memory is the board's"
    return f"{r.cycles_total:,} cycles{spread}: {quantity(r.latency_s, 's')} at {mhz:g} MHz, {r.clock_source}; {memory}"


def _array(r: Report) -> str:
    if r.utilization is None:
        return ""
    text = f"{percent(r.utilization)} of its peak over the whole inference, depthwise on the vector engine counted in"
    if r.causes is not None and r.cycles_total and r.judged_engine == "array":
        text += f"; useful work of its own in {percent(r.causes.get('useful', 0) / r.cycles_total)} of the cycles"
    if r.array_occupancy is not None:
        text += f"; {percent(r.array_occupancy)} of the work it did was the network's, the rest padding and empty rows or columns"
    return text


def _energy(r: Report) -> str:
    if r.energy_j is None or r.energy is None:
        return ""
    power = f", {bounded(r.power_w, 'W')} on average" if r.power_w is not None else ""
    static = "static power unknown" if r.energy.static_j == "unknown" else "static power apart"
    return f"{bounded(r.energy_j, 'J')} an inference{power}; {r.energy.technology}, dynamic only, {static}"


def _accuracy(r: Report) -> str:
    parts = []
    if r.agreement is not None:
        a = r.agreement
        parts.append(f"top-1 as {a.reference} in {percent(a.top1)} of {a.samples} sample{'s' if a.samples != 1 else ''}")
        if a.equal is not None:
            parts.append(f"{percent(a.equal)} of codes equal")
        if a.within_1 is not None:
            parts.append(f"{percent(a.within_1)} within 1")
    if r.labels_top1 is not None:
        parts.append(f"{percent(r.labels_top1)} of labels right")
    return "; ".join(parts)


def _host(r: Report) -> str:
    if not r.host_ops:
        return "nothing runs on the host"
    shown = "; ".join(f"{op.name} ({op.reason})" for op in r.host_ops[:4])
    more = f"; {len(r.host_ops) - 4} more" if len(r.host_ops) > 4 else ""
    return f"{shown}{more}"


def _simulation(r: Report) -> str:
    if not r.sim_cycles_per_second:
        return ""
    return f"{r.simulated_cycles:,} cycles at {r.sim_cycles_per_second:,.0f} cycles a second"
