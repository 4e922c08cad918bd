"""What is put around a module whose ports are more than a package has pins, so that it can be placed and routed.

Four pins: ``clk``, ``shift_in``, ``load``, ``out``. Inputs come from registers that are filled through a shift register and
loaded at once; outputs go into registers with nothing before them, which are folded into one bit, four to one with a register
after each step. So every input may be anything, every output matters, and nothing of the module can be simplified away; a path
within the harness passes one look-up table at most. A path between the module and the harness has nothing of the harness in it
but a register.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["HARNESS_INSTANCE", "HARNESS_MODULE", "Port", "black_box", "harness_verilog"]

HARNESS_MODULE = "systola_harness"
HARNESS_INSTANCE = "accelerator"
"""The name of the module in the harness: what names of its cells begin with."""

FOLD = 4
"""Bits that a look-up table of four inputs joins."""


@dataclass(frozen=True)
class Port:
    """A port of the module."""

    name: str
    is_input: bool
    bits: int


def harness_verilog(module: str, ports: list[Port], clock: str = "clk") -> str:
    """The harness. What ``module`` is, it does not say."""
    inputs = [port for port in ports if port.is_input and port.name != clock]
    outputs = [port for port in ports if not port.is_input]
    driven, seen = sum(port.bits for port in inputs), sum(port.bits for port in outputs)
    connections = [f".{clock}(clk)", *_slices(inputs, "driven"), *_slices(outputs, "seen")]
    lines = [
        f"module {HARNESS_MODULE}(input clk, input shift_in, input load, output out);",
        f"  reg [{driven - 1}:0] chain, driven;",
        f"  wire [{seen - 1}:0] seen;",
        "  always @(posedge clk) begin",
        f"    chain <= {{chain[{driven - 2}:0], shift_in}};" if driven > 1 else "    chain <= shift_in;",
        "    if (load) driven <= chain;",
        "  end",
        *_fold(seen),
        f"  {module} {HARNESS_INSTANCE}({', '.join(connections)});",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"


def black_box(module: str, ports: list[Port]) -> str:
    """A module without its content."""
    declared = ", ".join(_declaration(port) for port in ports)
    return f"(* blackbox *)\nmodule {module}({declared});\nendmodule\n"


def _slices(ports: list[Port], vector: str) -> Iterator[str]:
    at = 0
    for port in ports:
        yield f".{port.name}({vector}[{at + port.bits - 1}:{at}])"
        at += port.bits


def _declaration(port: Port) -> str:
    return f"{'input' if port.is_input else 'output'} [{port.bits - 1}:0] {port.name}"


def _fold(bits: int) -> Iterator[str]:
    """Registers after registers, the last one a single bit, ``out``."""
    yield f"  reg [{bits - 1}:0] fold0;"
    yield "  always @(posedge clk) fold0 <= seen;"
    step = 0
    while bits > 1:
        below, bits = bits, -(-bits // FOLD)
        yield f"  reg [{bits - 1}:0] fold{step + 1};"
        joined = [f"^fold{step}[{min(at + FOLD, below) - 1}:{at}]" for at in range(0, below, FOLD)]
        yield f"  always @(posedge clk) fold{step + 1} <= {{{', '.join(reversed(joined))}}};"
        step += 1
    yield f"  assign out = fold{step}[0];"
