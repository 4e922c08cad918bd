"""The readable Verilog: what is where, how it is called, and that expressions were moved only where they may stand."""

from __future__ import annotations

import functools
import re

import pytest

from systola.hw.config import load_config
from systola.hw.emit import TOP_MODULE
from systola.hw.params import Params
from systola.hw.readable.choices import chosen_by_value
from systola.hw.readable.inline import inlined
from systola.hw.readable.names import parse_modules, rename_module
from systola.hw.readable.text import readable
from systola.hw.readable.units import Design, emit_design

UNITS = [
    "systola", "systola_controller", "systola_axi_guard", "systola_counters", "systola_memory_waits", "systola_timeline",
    "systola_scratchpad", "systola_fetch", "systola_program_end", "systola_load_engine", "systola_array_engine",
    "systola_drain_engine", "systola_vector_engine", "systola_store_engine", "systola_frontend_load",
    "systola_frontend_array", "systola_frontend_drain", "systola_frontend_vector", "systola_frontend_store",
]  # fmt: skip


@functools.cache
def design(preset: str) -> Design:
    return emit_design(Params(load_config(preset)))


def modules(preset: str) -> list[str]:
    """Names of all modules, in order."""
    return re.findall(r"^module (\w+) \(", "".join(unit.text for unit in design(preset).units), re.MULTILINE)


def test_units() -> None:
    """Each unit is there, with its own module first, and all that it contains by its name."""
    units = design("tiny").units
    assert [unit.name for unit in units] == UNITS
    for unit in units:
        names = re.findall(r"^module (\S+)", unit.text, re.MULTILINE)
        assert names[0] == unit.name
        assert all(name.startswith(f"{unit.name}_") for name in names[1:])
        assert unit.does.endswith(".") and "\n" not in unit.does
    assert len(set(modules("tiny"))) == len(modules("tiny"))


def test_every_instance_has_a_module() -> None:
    """And every module but the top an instance."""
    text = "".join(unit.text for unit in design("tiny").units)
    used = set(re.findall(r"^  (systola\w*) \w+ \($", text, re.MULTILINE))
    assert used == set(modules("tiny")) - {TOP_MODULE}


def test_alike_modules_are_one() -> None:
    """tiny has four banks and one segment: a module each, by names without numbers."""
    names = modules("tiny")
    assert "systola_scratchpad_bank" in names and "systola_array_engine_systolic_segment" in names
    text = next(unit.text for unit in design("tiny").units if unit.name == "systola_scratchpad")
    assert re.findall(r"^  systola_scratchpad_bank (\w+) \($", text, re.MULTILINE) == [f"bank_{n}" for n in range(4)]


@pytest.mark.slow
def test_names_do_not_depend_on_parameters() -> None:
    """What two accelerators both have is called the same in both."""
    tiny, small = modules("tiny"), modules("small")
    assert [unit.name for unit in design("small").units] == UNITS
    assert len(set(tiny) & set(small)) > 0.95 * len(tiny)


@pytest.mark.slow
def test_the_same_text_each_time() -> None:
    first = design("tiny")
    design.cache_clear()
    assert design("tiny") == first


def test_names_are_plain() -> None:
    """Nothing escaped, nothing that a tool made up, no attribute but that of a choice, nothing but ASCII."""
    for unit in design("tiny").units:
        assert "\\" not in unit.text and "$" not in re.sub(r"\$signed\(|\$unsigned\(", "", unit.text)
        assert not re.search(r"\bmade_|\bport\$|\bU_\d", unit.text)
        assert set(re.findall(r"\(\* (.*?) \*\)", unit.text)) <= {"parallel_case"}
        assert unit.text.isascii()


def test_ports_of_the_top() -> None:
    """As the design says, each once in the header."""
    text = design("tiny").units[0].text
    head = text[: text.index(");")]
    found = {name: (kind == "input", int(high or 0) + 1) for kind, high, name in
             re.findall(r"^  (input|output) (?:wire|reg) (?:\[(\d+):0\] )?(\w+)", head, re.MULTILINE)}  # fmt: skip
    assert found == {"clk": (True, 1), **{port.name: (port.is_input, port.width) for port in design("tiny").ports}}


def module_of(*statements: str, nets: str = "") -> str:
    """A module with inputs a, b, c (one bit), x, y (four) and made names as ``nets`` declares."""
    declared = "".join(f"  wire {name};\n" for name in ("a", "b", "c", "[3:0] x", "[3:0] y", "q", "[3:0] r", nets))
    return f"module m(a);\n{declared}" + "".join(f"  {statement}\n" for statement in statements) + "endmodule\n"


def body(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if not line.startswith(("  wire", "module", "endmodule")))


@pytest.mark.parametrize(
    ("statements", "nets", "expected"),
    [
        (("assign made_1 = a & b;", "assign q = made_1 | c;"), "made_1", "assign q = (a & b) | c;"),
        (("assign made_1 = a & b;", "assign q = made_1 & c;"), "made_1", "assign q = a & b & c;"),
        (("assign made_1 = ~ a;", "assign r = x + made_1;"), "made_1", "assign r = x + !a;"),
        (("assign made_1 = x == y;", "assign q = ~ made_1;"), "made_1", "assign q = ~ (x == y);"),
        (("assign made_1 = & { a, b };", "assign q = c & made_1;"), "made_1", "assign q = c & a & b;"),
        (("assign made_1 = x + y;", "assign r = made_1;"), "[3:0] made_1", "assign r = x + y;"),
        (("assign made_1 = b ? x : y;", "assign r = a ? y : made_1;"), "[3:0] made_1", "assign r = a ? y : b ? x : y;"),
        (("assign made_1 = b ? x : y;", "assign r = a ? made_1 : y;"), "[3:0] made_1", "assign r = a ? (b ? x : y) : y;"),
        (("assign made_1 = x + y;", "always @(posedge a)", "  if (b) r <= made_1;"), "[3:0] made_1",
         "always @(posedge a)\nif (b) r <= x + y;"),
    ],
)  # fmt: skip
def test_what_is_moved(statements: tuple[str, ...], nets: str, expected: str) -> None:
    assert body(inlined(module_of(*statements, nets=nets))) == expected


@pytest.mark.parametrize(
    ("statements", "nets"),
    [
        (("assign made_1 = x + y;", "assign q = x == made_1;"), "[3:0] made_1"),  # five bits there would be another sum
        (("assign made_1 = x + y;", "assign q = x <= made_1;"), "[3:0] made_1"),  # no assignment, a comparison
        (("assign made_1 = x + y;", "assign q = made_1[0];"), "[3:0] made_1"),
        (("assign made_1 = x + y;", "assign r = a ? made_1 : y;"), "[3:0] made_1"),
        (("assign made_1 = x + y;", "assign q = |made_1;"), "[3:0] made_1"),
        (("assign made_1 = b ? x : y;", "assign r = made_1 + x;"), "[3:0] made_1"),
        (("assign made_1 = ~ x;", "assign r = made_1 & y;"), "[3:0] made_1"),
        (("assign made_1 = a & b;", "assign q = made_1;", "assign r = { 3'h0, made_1 };"), "made_1"),  # twice
        (("assign made_1 = x & y;", "assign q = made_1 | a;"), "made_1"),  # its operands are wider than it
    ],
)
def test_what_stays(statements: tuple[str, ...], nets: str) -> None:
    text = module_of(*statements, nets=nets)
    assert inlined(text) == text


def test_a_comparison_keeps_its_operand_together() -> None:
    text = module_of("assign made_1 = a & b;", "assign q = c == made_1;", nets="made_1")
    assert body(inlined(text)) == "assign q = c == (a & b);"


def test_keywords_and_numbers() -> None:
    """A name that is a keyword gets an underscore; names are numbered by their places; long zeros are short."""
    source = (
        "module m(\\end , clk);\n  wire \\$5 ;\n  input clk;\n  wire clk;\n  output \\end ;\n  reg \\end  = 1'h0;\n"
        "  reg [63:0] r = 64'h0000000000000000;\n  wire [63:0] \\$9 ;\n"
        "  assign \\$9  = r + 1'h1;\n  assign \\$5  = r == \\$9 ;\n"
        "  always @(posedge clk)\n    r <= \\$9 ;\n  always @(posedge clk)\n    \\end  <= \\$5 ;\nendmodule\n"
    )
    assert readable(source) == (
        "module m (\n  input wire clk,\n  output reg end_ = 1'h0\n);\n  reg [63:0] r = 64'h0;\n  wire [63:0] n1;\n"
        "  assign n1 = r + 1'h1;\n  always @(posedge clk)\n    r <= n1;\n  always @(posedge clk)\n    end_ <= r == n1;\n"
        "endmodule\n"
    )


CHOICE = """module m(a);
  wire [3:0] x;
  wire [1:0] r;
  wire made_1;
  wire made_2;
  function [1:0] made_3;
    input [1:0] a;
    input [3:0] b;
    input [1:0] s;
    (* parallel_case *)
    casez (s)
      2'b?1:
        made_3 = b[1:0];
      2'b1?:
        made_3 = b[3:2];
      default:
        made_3 = a;
    endcase
  endfunction
  assign r = made_3(2'h0, 4'h6, {{ made_2, made_1 }});
  assign made_1 = {first};
  assign made_2 = {second};
endmodule
"""


def test_a_choice_by_a_value() -> None:
    """The bits are gone; the last of the list is the first case."""
    text = chosen_by_value(CHOICE.format(first="x == 4'h9", second="! x"))
    assert "assign r = made_3(2'h0, 4'h6, x);" in text
    assert "    input [3:0] s;\n    case (s)\n" in text
    assert "      4'h9:\n        made_3 = b[1:0];\n      1'h0:\n        made_3 = b[3:2];\n" in text
    assert "made_1" not in text and "made_2" not in text


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("x == 4'h9", "r == 2'h1"),  # of two signals
        ("x == 4'h9", "x == 4'h9"),  # the same twice
        ("x == 1'h0", "! x"),
        ("x == 4'h9", "x < 4'h2"),
    ],
)
def test_other_choices_stay(first: str, second: str) -> None:
    text = CHOICE.format(first=first, second=second)
    assert chosen_by_value(text) == text


def test_names_of_rtlil() -> None:
    """Fields, elements and numbers become plain; a port that is part of a signal is called by that."""
    source = """attribute \\top 1
module \\top.sub$3

  wire width 4 input 0 \\port$12$0

  wire width 4 input 1 \\port$13$0

  wire width 8 \\counts$7

  wire width 4 \\counts$7[0]

  wire width 4 \\counts_0

  cell $not $1
    parameter \\A_WIDTH 4
    connect \\A \\port$12$0 [3:0]
    connect \\Y \\counts_0
  end
connect \\counts$7 { \\port$13$0 \\port$12$0 }
connect \\counts$7[0] \\port$12$0 [3:0]

end
"""
    parsed = parse_modules(source)
    module = parsed["\\top.sub$3"]
    text = rename_module(module, parsed, {module.name: "\\top_sub"})
    assert "module \\top_sub\n" in text and "$12$0" not in text
    wires = re.findall(r"wire .*?\\(\S+)$", text, re.MULTILINE)
    assert wires == ["counts_0_2", "counts_1", "counts", "counts_0_3", "counts_0"]
    assert "connect \\counts { \\counts_1 \\counts_0_2 }" in text
