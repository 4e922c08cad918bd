"""Points run on RTL: are cycles, counters and outputs those of the model?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from systola.driver.compare import Comparison
from systola.driver.open import open_device, rtl_settings
from systola.driver.runtime import Counters, Runtime
from systola.driver.sweep.networks import Model, network_inputs, quantized
from systola.driver.sweep.store import Store
from systola.hw.config import config_from
from systola.hw.errors import ConfigError, DeviceError, SystolaError
from systola.hw.params import Params
from systola.mapper.compile import compile_network
from systola.reports.sweep.results import NetworkResult, PointResult, SweepResults, Verification
from systola.sim.golden import run_golden

__all__ = ["chosen_points", "verify_network", "verify_points"]


def chosen_points(results: SweepResults, best: int, asked: Sequence[str]) -> list[PointResult]:
    """The ``best`` first points of the front, and those whose hashes begin as ``asked``; verified ones are in it too.

    Raises ConfigError for a hash that names no point that is done, or several.
    """
    chosen = {point.hash: point for point in results.front_points[:best]}
    done = results.of_state("done")
    for start in asked:
        found = [point for point in done if start and point.hash.startswith(start)]
        if len(found) != 1:
            what = f"{len(found)} points begin so: give more digits" if found else "no point that is done begins so"
            raise ConfigError(f"--verify-point {start}: {what}; points.csv lists the hashes")
        chosen[found[0].hash] = found[0]
    return list(chosen.values())


def verify_points(
    points: Sequence[PointResult], models: Sequence[Model], store: Store, notify: Callable[[str], None]
) -> list[tuple[PointResult, Verification]]:
    """Run the points that have not been, and record how it went: as it comes, so that nothing runs twice."""
    result = []
    by_name = {model.name: model for model in models}
    for point in points:
        known = {v.network for v in point.verifications if not v.reason}
        for network in point.networks:
            if network.network in known:
                continue
            notify(f"{point.hash}: {network.network} on RTL")
            verification = verify_network(point, network, by_name[network.network])
            store.add_verification(point.hash, verification)
            result.append((point, verification))
    return result


def verify_network(point: PointResult, network: NetworkResult, model: Model) -> Verification:
    """Run one network of a point on RTL, once. What cannot be run is said in ``reason``; ToolError (no compiler) is raised."""
    begin = time.perf_counter()
    cycles: int | None = None
    equal, checked, different, reason = False, 0, 0, ""
    try:
        cycles, equal, checked, different = _run(point, network, model)
    except DeviceError as error:
        reason = str(error)
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    seconds = time.perf_counter() - begin
    return Verification(network.network, network.cycles, cycles, equal, checked, different, seconds, finished, reason)


def _run(point: PointResult, network: NetworkResult, model: Model) -> tuple[int, bool, int, int]:
    """(cycles, whether the counters are the model's, bytes compared, bytes that differ)."""
    params = Params(config_from(point.config, f"point {point.hash}"))
    graph = quantized(model, point.method, params.multiplier_bits)
    image = compile_network(graph, params)
    inputs = network_inputs(model, graph)
    expected = run_golden(graph, {name: codes[None] for name, codes in inputs.items()})
    with open_device("rtl", params, image.memory_bytes, rtl_settings(params, trace=False)) as device:
        runtime = Runtime(device, image, params)
        inference = runtime.infer(inputs)
        comparison = Comparison(graph, image)
        comparison.add({name: values[0] for name, values in expected.items()}, runtime, inference)
    check = comparison.check()
    equal = _counters_equal(inference.counters, network)
    return inference.cycles, equal, sum(check.tensors.values()), sum(check.mismatches.values())


def _counters_equal(counters: Counters | None, network: NetworkResult) -> bool:
    if counters is None:
        raise SystolaError("the device gave no counters")
    classes = {e.name.lower(): {c.name.lower(): n for c, n in own.items() if n} for e, own in counters.classes.items()}
    events = {event.name.lower(): count for event, count in counters.events.items()}
    return classes == network.classes and events == network.events
