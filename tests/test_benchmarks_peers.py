"""What the side-by-side benchmark gives the peers, and what it reads from their reports. Nothing is installed, no peer is run."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from systola.hw.config import load_config
from systola.hw.params import Params
from systola.mapper.nnef import read_model
from systola.mapper.quantize import quantize

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import peer_tools  # noqa: E402 - after the folder is on the path
import peers  # noqa: E402
from peer_inputs import (  # noqa: E402
    Dataflow,
    Layer,
    Machine,
    conv_layers,
    scalesim_config,
    scalesim_cycles,
    scalesim_report,
    scalesim_topology,
    zigzag_accelerator,
    zigzag_layer_cycles,
    zigzag_mapping,
    zigzag_workload,
)
from peer_runs import with_rest  # noqa: E402

PARAMS = Params(load_config("base"))
MACHINE = Machine.of(PARAMS)
FIRST = Layer("first", 3, 64, (7, 7), (112, 112), (2, 2), ((3, 3), (3, 3)))
SMALL = Layer("small", 16, 32, (1, 1), (16, 16), (2, 2), ((0, 0), (0, 0)))
FULLY_CONNECTED = Layer("linear", 64, 10, (1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))
LAYERS = (FIRST, SMALL, FULLY_CONNECTED)

COMPUTE_REPORT = """\
LayerID, Total Cycles (incl. prefetch), Total Cycles, Stall Cycles, Overall Util %, Mapping Efficiency %, Compute Util %,
0, 4711, 2139, 12, 80.78541374474054, 84.375, 79.63133640552995,
"""


@pytest.fixture(scope="module")
def resnet8(models: Path) -> tuple[Layer, ...]:
    return conv_layers(quantize(read_model(models / "resnet8_int8"), multiplier_bits=PARAMS.multiplier_bits))


def test_layers_of_a_network(resnet8: tuple[Layer, ...]) -> None:
    assert len(resnet8) == 10
    assert sum(layer.macs for layer in resnet8) == 12_501_632
    first, strided, last = resnet8[0], resnet8[3], resnet8[-1]
    assert (first.channels, first.filters, first.kernel, first.output, first.input_read) == (3, 16, (3, 3), (32, 32), (34, 34))
    assert (strided.stride, strided.output, strided.input_read) == ((2, 2), (16, 16), (33, 33))
    assert (last.depth, last.filters, last.output) == (64, 10, (1, 1))


def test_cycles_by_formula(resnet8: tuple[Layer, ...]) -> None:
    """What SCALE-Sim 3.0.0 said of the network, and of a layer in the report below."""
    assert sum(scalesim_cycles(layer, MACHINE, "ws") for layer in resnet8) == 63_130
    assert sum(scalesim_cycles(layer, MACHINE, "os") for layer in resnet8) == 58_996
    assert scalesim_cycles(resnet8[0], MACHINE, "ws") == scalesim_report(COMPUTE_REPORT)[0]


def test_what_a_format_cannot_state(models: Path) -> None:
    graph = quantize(read_model(models / "kws_int8"), multiplier_bits=PARAMS.multiplier_bits)
    with pytest.raises(ValueError, match="groups, dilation and unequal strides cannot be stated to both peers"):
        conv_layers(graph)


def test_scalesim_topology() -> None:
    header, *rows = scalesim_topology(LAYERS).splitlines()
    assert all(row.endswith(",") for row in (header, *rows))
    columns = [field.strip() for field in header.split(",")[:-1]]
    first, small, linear = ([field.strip() for field in row.split(",")[:-1]] for row in rows)
    assert len(columns) == len(first) == 8
    assert first == ["layer0", "229", "229", "7", "7", "3", "64", "2"]
    assert small == ["layer1", "31", "31", "1", "1", "16", "32", "2"]
    assert linear == ["layer2", "1", "1", "1", "1", "64", "10", "1"]
    # The tool's own reading of the sizes gives the outputs back: ceil((input − kernel + stride) / stride).
    assert FIRST.output[0] == -(-(229 - 7 + 2) // 2)


@pytest.mark.parametrize(("bandwidth", "mode"), [(False, "CALC"), (True, "USER")])
@pytest.mark.parametrize("dataflow", ["ws", "os"])
def test_scalesim_config(dataflow: Dataflow, bandwidth: bool, mode: str) -> None:
    config = configparser.ConfigParser()
    config.read_string(scalesim_config(MACHINE, dataflow, bandwidth=bandwidth))
    array = config["architecture_presets"]
    assert (array["ArrayHeight"], array["ArrayWidth"], array["Dataflow"], array["Bandwidth"]) == ("16", "16", dataflow, "16")
    assert array["IfmapSramSzkB"] == array["FilterSramSzkB"] == array["OfmapSramSzkB"] == "256"
    assert config["run_presets"]["InterfaceBandwidth"] == mode
    for operand in ("Ifmap", "Filter"):
        words, banks = (config["layout"].getint(f"{operand}SRAMBank{key}") for key in ("Bandwidth", "Num"))
        assert words == 16
        assert words % banks == 0


def test_scalesim_report() -> None:
    assert scalesim_report(COMPUTE_REPORT) == (2139, 4711, 12)


def test_zigzag_workload() -> None:
    layers = json.loads(zigzag_workload(LAYERS))
    sizes = [dict(zip(layer["loop_dims"], layer["loop_sizes"], strict=True)) for layer in layers]
    assert [size["K"] * size["C"] * size["FX"] * size["FY"] * size["OX"] * size["OY"] for size in sizes] == [
        layer.macs for layer in LAYERS
    ]
    first = layers[0]
    assert first["dimension_relations"] == ["ix=2*ox+1*fx", "iy=2*oy+1*fy"]
    assert (first["pr_loop_sizes"], first["padding"]) == ([223, 223], [[3, 3], [3, 3]])
    assert [layer["name"] for layer in layers] == ["layer0", "layer1", "layer2"]


def test_zigzag_accelerator() -> None:
    described = json.loads(zigzag_accelerator(MACHINE))
    assert described["operational_array"]["sizes"] == [16, 16]
    memories = described["memories"]
    assert memories["scratchpad"]["size"] == 8 * 256 * 1024
    assert memories["accumulators"]["size"] == 8 * 64 * 1024
    (dram,) = memories["dram"]["ports"]
    assert dram["bandwidth_max"] == 8 * 16
    assert memories["weight_registers"]["operands"] == ["I2"]
    assert memories["scratchpad"]["operands"] == ["I1", "I2", "O"]


def test_zigzag_mapping() -> None:
    """Kernel positions beside the channels only where rows would be empty, in even parts of the kernel's row."""
    mappings = {mapping["name"]: mapping["spatial_mapping"] for mapping in json.loads(zigzag_mapping(LAYERS, MACHINE))}
    assert mappings == {
        "default": {"D1": ["K, 16"], "D2": ["C, 16"]},
        "layer0": {"D1": ["K, 16"], "D2": ["C, 3", "FX, 4"]},
    }


def test_zigzag_report() -> None:
    latency = {"data_onloading": 1025.0, "computation": 9216.0, "data_offloading": 541.0}
    assert zigzag_layer_cycles(json.dumps({"outputs": {"latency": latency}, "inputs": {}})) == 10_782


def test_rest_of_a_network() -> None:
    """One layer simulated, one like it, one by the formula: cycles and seconds of all three."""
    layers = (SMALL, replace(SMALL, name="again"), FIRST)
    done = {0: {"cycles": 600, "with_prefetch": 900, "stalls": 100, "seconds": 4.0, "cpu_seconds": 2.0}}
    figures = with_rest(layers, (500, 500, 5000), done, import_cpu_seconds=1.0)
    assert figures["layers"] == {"measured": 1, "repeated": 1, "by_formula": 1}
    assert figures["layer_cycles"] == [600, 600, 5000]
    assert figures["cycles"] == 6200
    assert figures["cpu_seconds"] == pytest.approx(2.0 + 2.0 + 20.0)
    assert figures["process_cpu_seconds"] == pytest.approx(25.0)
    assert figures["seconds"] == pytest.approx(48.0)
    assert figures["formula_right"] == 0
    assert figures["with_prefetch"] is None


def test_all_of_a_network_is_measured() -> None:
    done = {0: {"cycles": 500, "with_prefetch": 900, "stalls": 0, "seconds": 4.0, "cpu_seconds": 2.0}}
    figures = with_rest((SMALL,), (500,), done, import_cpu_seconds=1.0)
    assert (figures["cycles"], figures["with_prefetch"], figures["formula_right"]) == (500, 900, 1)
    assert "process_cpu_seconds" not in figures


def test_rows() -> None:
    about = {"network": "n", "macs": 25_600, "layer_count": 2, "macs_per_cycle": 256, "peak_memory_bytes": 1 << 20}
    spent = {"seconds": 0.2, "cpu_seconds": 0.1, "process_seconds": 2.0, "process_cpu_seconds": 1.0, "load_average": 0.5}
    own = about | spent | {"tool": "Systola", "cycles": 125}
    peer = about | {key: 50 * value for key, value in spent.items()} | {
        "tool": "ZigZag", "cycles": 200, "layers": {"measured": 1, "repeated": 0, "by_formula": 1},
    }  # fmt: skip
    first, second = peers.speed_rows([own, peer])
    assert first[:5] == ["n", "Systola", "all", "0.100", "0.200"]
    assert second[2:7] == ["1 of 2", "≈ 5.0", "≈ 10.0", "≈ 50", "≈ 50"]
    first, second = peers.cycle_rows([own, peer])
    assert first == ["n", "Systola", "whole network", "125", "80.0 %", "–", "-37.5 %", "–", "–"]
    assert second == ["n", "ZigZag", "2 layers", "≈ 200", "50.0 %", "+60.0 %", "–", "–", "–"]


def test_a_tool_that_cannot_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named with what the installer said; nothing is taken for installed afterwards."""

    def offline(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        failed = "pip" in command
        said = "noise\nERROR: No matching distribution found\n" if failed else ""
        return subprocess.CompletedProcess(command, int(failed), "", said)

    monkeypatch.setattr(subprocess, "run", offline)
    listed, found = peers._installed([peer_tools.SCALESIM], tmp_path)
    assert found == {}
    assert listed[0]["said"] == "not installed, not measured: ERROR: No matching distribution found"
    assert not list(tmp_path.rglob("installed.txt"))


def test_a_process_is_measured_and_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import pathlib, sys, time\npathlib.Path(sys.argv[1]).write_text('{\"a\": 1}\\n{\"b\"')\n"
        "if sys.argv[2] == 'wait': time.sleep(60)\nsys.exit('no such layer' if sys.argv[2] == 'fail' else 0)\n"
    )
    monkeypatch.setattr(peer_tools, "DRIVERS", tmp_path)

    def process(how: str, limit: float | None = None) -> peer_tools.Process:
        return peer_tools.run_process(sys.executable, "driver", [peer_tools.RESULTS, how], tmp_path, limit)

    done, failed, stopped = process("end"), process("fail"), process("wait", 2.0)
    assert (done.results, done.error, done.stopped) == (({"a": 1},), None, False)
    assert done.cpu_seconds > 0
    assert done.peak_memory_bytes > 1 << 20
    assert failed.error == "no such layer"
    assert (stopped.results, stopped.error, stopped.stopped) == (({"a": 1},), None, True)
    assert 2 <= stopped.seconds < 30
