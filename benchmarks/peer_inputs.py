"""What the peers are given, made from a quantized network's layers and an accelerator's description; and their reports read.

SCALE-Sim takes a configuration (``.cfg``) and a topology (``.csv``); ZigZag an accelerator, a mapping and a workload in YAML,
written here as JSON, which YAML contains. Both get convolutions, and fully connected layers as convolutions of one position, one
by one: the operations between them are left out, and every layer begins and ends with its tensors in DRAM.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from systola.hw.params import Params
from systola.mapper.quantgraph import Conv, QuantGraph

__all__ = [
    "RUN_NAME", "Dataflow", "Layer", "Machine", "conv_layers", "scalesim_config", "scalesim_cycles", "scalesim_report",
    "scalesim_topology", "zigzag_accelerator", "zigzag_layer_cycles", "zigzag_mapping", "zigzag_workload",
]  # fmt: skip

Dataflow = Literal["ws", "os"]
"""Weight-stationary, output-stationary."""

RUN_NAME = "side_by_side"
TOPOLOGY_HEADER = (
    "Layer name", "IFMAP height", "IFMAP width", "Filter height", "Filter width", "Channels", "Num filters", "Stride",
)  # fmt: skip
BUFFER_BANKS = 8
"""SCALE-Sim wants a bandwidth that its number of banks divides."""

EQUATION = "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]"
DRAM_BITS = 1 << 40


@dataclass(frozen=True)
class Machine:
    """The accelerator as the peers can state it: elements are int8, sums 32 bits."""

    rows: int
    columns: int
    scratchpad_bytes: int
    accumulator_bytes: int
    dram_bytes_per_cycle: int

    @classmethod
    def of(cls, params: Params) -> Machine:
        """From a description."""
        memory = params.config.memory
        return cls(
            params.rows, params.columns, memory.scratchpad_bytes, memory.accumulator_bytes, params.config.dram.bytes_per_cycle
        )


@dataclass(frozen=True)
class Layer:
    """A convolution without groups, or a fully connected layer: height and width 1. Pairs are (vertical, horizontal)."""

    name: str
    channels: int
    filters: int
    kernel: tuple[int, int]
    output: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]

    @property
    def depth(self) -> int:
        """Weights of one filter: products in a sum."""
        return self.channels * math.prod(self.kernel)

    @property
    def macs(self) -> int:
        """Multiplications."""
        return self.depth * self.filters * math.prod(self.output)

    @property
    def input_read(self) -> tuple[int, int]:
        """Height and width of the padded input that the kernel passes over."""
        (oy, ox), (sy, sx), (ky, kx) = self.output, self.stride, self.kernel
        return (oy - 1) * sy + ky, (ox - 1) * sx + kx

    @property
    def shape(self) -> tuple[object, ...]:
        """What layers of equal cost have in common."""
        return self.channels, self.filters, self.kernel, self.output, self.stride


def conv_layers(graph: QuantGraph) -> tuple[Layer, ...]:
    """Convolutions and fully connected layers in order. Raises ValueError for one that a peer's format cannot state."""
    layers = []
    for node in graph.nodes:
        if not isinstance(node, Conv):
            continue
        if node.groups != 1 or node.dilation != (1, 1) or node.stride[0] != node.stride[1]:
            raise ValueError(f"{node.name}: groups, dilation and unequal strides cannot be stated to both peers")
        filters, channels, kernel_height, kernel_width = node.weights.shape
        height, width = (*graph.tensors[node.output].shape[2:], 1, 1)[:2]
        layers.append(
            Layer(node.name, channels, filters, (kernel_height, kernel_width), (height, width), node.stride, node.padding)
        )
    return tuple(layers)


def scalesim_config(machine: Machine, dataflow: Dataflow, *, bandwidth: bool = False) -> str:
    """The ``.cfg``. A buffer of the scratchpad's size for each operand: the format shares none. ``bandwidth``: the DRAM's is a
    limit, all of it for each operand, in words of a byte; without it the tool takes as much as is needed and never stalls."""
    kilobytes, words = machine.scratchpad_bytes // 1024, machine.dram_bytes_per_cycle
    sections: Mapping[str, Mapping[str, object]] = {
        "general": {"run_name": RUN_NAME},
        "architecture_presets": {
            "ArrayHeight": machine.rows, "ArrayWidth": machine.columns,
            "IfmapSramSzkB": kilobytes, "FilterSramSzkB": kilobytes, "OfmapSramSzkB": kilobytes,
            "IfmapOffset": 0, "FilterOffset": 10_000_000, "OfmapOffset": 20_000_000,
            "Dataflow": dataflow, "Bandwidth": words, "ReadRequestBuffer": 512, "WriteRequestBuffer": 512,
        },
        "layout": {
            f"{operand}{key}": value
            for operand in ("Ifmap", "Filter")
            for key, value in {
                "CustomLayout": False, "SRAMBankBandwidth": words,
                "SRAMBankNum": math.gcd(words, BUFFER_BANKS), "SRAMBankPort": 2,
            }.items()
        },
        "sparsity": {"SparsitySupport": "false"},
        "run_presets": {"InterfaceBandwidth": "USER" if bandwidth else "CALC", "UseRamulatorTrace": False},
    }  # fmt: skip
    lines = []
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in values.items()), ""]
    return "\n".join(lines)


def scalesim_topology(layers: Iterable[Layer]) -> str:
    """The ``.csv``. Every row ends with a comma, as the format has it; padding is in the input's size."""
    rows: list[tuple[str, ...]] = [TOPOLOGY_HEADER]
    for place, layer in enumerate(layers):
        values = (*layer.input_read, *layer.kernel, layer.channels, layer.filters, layer.stride[0])
        rows.append((f"layer{place}", *map(str, values)))
    return "".join(", ".join(row) + ",\n" for row in rows)


def scalesim_cycles(layer: Layer, machine: Machine, dataflow: Dataflow) -> int:
    """SCALE-Sim's cycles of a layer without stalls: its passes over the array, each with filling, draining and, where weights
    stay, loading. A formula that all layers this tool has simulated here agreed with; the benchmark checks it again."""
    rows, columns, positions = machine.rows, machine.columns, math.prod(layer.output)
    fill = rows + columns - 2
    if dataflow == "ws":
        return math.ceil(layer.depth / rows) * math.ceil(layer.filters / columns) * (positions + rows + fill) - 1
    return math.ceil(positions / rows) * math.ceil(layer.filters / columns) * (layer.depth + fill) - 1


def scalesim_report(text: str) -> tuple[int, int, int]:
    """Of a ``COMPUTE_REPORT.csv`` of one layer: total cycles, the same with its first loading, and stalls among them."""
    header, *rows = csv.reader(io.StringIO(text), skipinitialspace=True)
    (row,) = rows
    named = dict(zip(header, row, strict=True))
    columns = ("Total Cycles", "Total Cycles (incl. prefetch)", "Stall Cycles")
    cycles, with_prefetch, stalls = (int(float(named[column])) for column in columns)
    return cycles, with_prefetch, stalls


def zigzag_accelerator(machine: Machine) -> str:
    """Weights stay in two registers at each multiplier, sums are added up down the columns and in the accumulators; inputs,
    weights and outputs pass through one scratchpad. Energies are all 1: only latency is asked for."""
    word = 8 * machine.dram_bytes_per_cycle
    row, sums = 8 * machine.rows, 32 * machine.columns
    everywhere = ["D1", "D2"]
    memories = {
        "weight_registers": _memory(
            16, [], ("r_port_1", "read", 8, ["I2, tl"]), ("w_port_1", "write", 8, ["I2, fh"]),
        ),
        "accumulators": _memory(
            8 * machine.accumulator_bytes, everywhere,
            ("r_port_1", "read", sums, ["O, tl"]), ("w_port_1", "write", sums, ["O, fl"]),
            ("r_port_2", "read", sums, ["O, th"]), ("w_port_2", "write", sums, ["O, fh"]),
        ),
        "scratchpad": _memory(
            8 * machine.scratchpad_bytes, everywhere,
            ("r_port_1", "read", row, ["I1, tl"]), ("r_port_2", "read", row, ["I2, tl"]),
            ("w_port_1", "write", word, ["I1, fh", "I2, fh"]),
            ("rw_port_1", "read_write", sums, ["O, tl", "O, fl", "O, th", "O, fh"]),
        ),
        "dram": _memory(
            DRAM_BITS, everywhere,
            ("rw_port_1", "read_write", word,
             ["I1, fh", "I1, tl", "I2, fh", "I2, tl", "O, fh", "O, tl", "O, fl", "O, th"]),
        ),
    }  # fmt: skip
    array = {
        "input_precision": [8, 8], "unit_energy": 1.0, "unit_area": 1.0, "dimensions": everywhere,
        "sizes": [machine.columns, machine.rows], "systolic_dimensions": everywhere,
    }  # fmt: skip
    return json.dumps({"name": "weight_stationary", "memories": memories, "operational_array": array}, indent=1)


def _memory(bits: int, served: Sequence[str], *ports: tuple[str, str, int, list[str]]) -> dict[str, Any]:
    """A memory, its ports as (name, kind, bits a cycle, what passes). It holds the operands that pass through its ports."""
    return {
        "size": bits, "r_cost": 1.0, "w_cost": 1.0, "area": 0.0, "latency": 1, "served_dimensions": list(served),
        "operands": sorted({passing.partition(",")[0] for *_, allocation in ports for passing in allocation}),
        "ports": [
            {"name": name, "type": kind, "bandwidth_min": 8, "bandwidth_max": width, "allocation": allocation}
            for name, kind, width, allocation in ports
        ],
    }  # fmt: skip


def zigzag_mapping(layers: Sequence[Layer], machine: Machine) -> str:
    """Filters on columns, channels on rows; where a layer has too few channels, positions of a kernel's row beside them."""
    mappings = [_spatial("default", machine, [f"C, {machine.rows}"])]
    for place, layer in enumerate(layers):
        beside = min(machine.rows // layer.channels, layer.kernel[1])
        if beside > 1:
            even = math.ceil(layer.kernel[1] / math.ceil(layer.kernel[1] / beside))
            mappings.append(_spatial(f"layer{place}", machine, [f"C, {layer.channels}", f"FX, {even}"]))
    return json.dumps(mappings, indent=1)


def _spatial(name: str, machine: Machine, rows: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "spatial_mapping": {"D1": [f"K, {machine.columns}"], "D2": rows},
        "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"},
    }


def zigzag_workload(layers: Iterable[Layer]) -> str:
    """Layers that each begin with their operands in DRAM."""
    return json.dumps([_zigzag_layer(place, layer) for place, layer in enumerate(layers)], indent=1)


def _zigzag_layer(place: int, layer: Layer) -> dict[str, Any]:
    (height, width), (stride_y, stride_x), (pad_y, pad_x) = layer.output, layer.stride, layer.padding
    read_y, read_x = layer.input_read
    return {
        "id": place, "name": f"layer{place}", "operator_type": "Conv", "equation": EQUATION,
        "loop_dims": ["B", "K", "G", "OX", "OY", "C", "FX", "FY"],
        "loop_sizes": [1, layer.filters, 1, width, height, layer.channels, layer.kernel[1], layer.kernel[0]],
        "dimension_relations": [f"ix={stride_x}*ox+1*fx", f"iy={stride_y}*oy+1*fy"],
        "operand_precision": {"W": 8, "I": 8, "O": 32, "O_final": 8},
        "operand_source": {"W": place, "I": place},
        "pr_loop_dims": ["IX", "IY"],
        "pr_loop_sizes": [read_x - sum(pad_x), read_y - sum(pad_y)],
        "padding": [list(pad_x), list(pad_y)],
    }  # fmt: skip


def zigzag_layer_cycles(text: str) -> int:
    """Of a layer's ``_complete.json``: loading, computing and writing back."""
    latency = json.loads(text)["outputs"]["latency"]
    parts = ("data_onloading", "computation", "data_offloading")
    return sum(round(latency[part]) for part in parts)
