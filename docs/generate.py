"""Write the generated reference pages from the tables in the code.

``python docs/generate.py`` writes ``docs/reference/``; with ``--check`` nothing is written and the exit status is 1 if a page
is not current. What a page says beyond the tables is here; what the tables say is only in the code.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.models import ArgumentInfo

from systola.driver.cli import app
from systola.driver.markdown import member_meanings, paragraph, plain, table
from systola.driver.register_page import register_parts
from systola.hw import errors, isa, registers
from systola.hw.config import PRESETS, Config, load_config
from systola.hw.params import Params
from systola.reports.causes import CAUSE_MEANINGS, CAUSE_WORDS, Cause
from systola.reports.classes import USE_MEANINGS, USE_OF_CLASS, USE_WORDS, Use
from systola.reports.schema import Report, report_schema

REFERENCE = Path(__file__).parent / "reference"
MARK = "<!-- Made by docs/generate.py: change the tables in the code, not this page. -->"

UNITS = {
    "rows": "rows", "columns": "columns", "segment_columns": "columns", "scratchpad_bytes": "bytes", "scratchpad_banks": "banks",
    "accumulator_bytes": "bytes", "data_bytes": "bytes", "address_bits": "bits", "burst_beats": "beats",
    "read_outstanding": "bursts", "write_outstanding": "bursts", "depthwise_taps": "taps", "tap_depth": "kernel rows",
    "table_lanes": "lanes", "multiplier_bits": "bits", "lanes": "lanes", "units": "32 bytes", "frequency_mhz": "MHz",
    "latency_cycles": "cycles", "bytes_per_cycle": "bytes a cycle", "name": "text",
    "multipliers": "text",
}  # fmt: skip
"""The unit of each parameter; a new one has to be added here."""

KINDS = {int: "number", float: "number", str: "text", Path: "path"}

DERIVED = (
    "lanes", "row_groups", "column_groups", "segments", "macs_per_cycle", "weight_tile_words", "scratchpad_words", "bank_words",
    "accumulator_words", "accumulator_half_words", "drain_record_words", "drain_word_cycles", "vector_word_cycles",
    "tap_entries", "alignment_bytes",
)  # fmt: skip


def page(*parts: str) -> str:
    """A page: its title first, then the remark that it is made."""
    return "\n\n".join((parts[0], MARK, *parts[1:])) + "\n"


# --- accelerator ---------------------------------------------------------------------------------------------------


def sections() -> Iterable[tuple[str, FieldInfo]]:
    """The sections of a description, by name; the top level's own fields are not among them."""
    return ((name, info) for name, info in Config.model_fields.items() if isinstance(info.annotation, type(BaseModel)))


def allowed(info: FieldInfo) -> str:
    """The values that a field may have."""
    limits = {type(m).__name__: m for m in info.metadata}
    if choices := getattr(info.annotation, "__args__", ()):
        return ", ".join(map(str, choices))
    if info.annotation is str:
        return "letters, digits, `_`, `.`, `-`"
    low = limits["Ge"].ge if "Ge" in limits else f"above {limits['Gt'].gt}"
    power = any(isinstance(m, AfterValidator) for m in info.metadata)
    return f"{low} … {limits['Le'].le}" + (", a power of two" if power else "")


def field_row(name: str, info: FieldInfo) -> Sequence[object]:
    """A row of a section's table."""
    default = "required" if info.default is PydanticUndefined else info.default
    return f"`{name}`", allowed(info), default, UNITS[name], info.description


def accelerator_page() -> str:
    """Every parameter, and the presets side by side."""
    head = ("field", "allowed", "default", "unit", "what it is, and why")
    parts = []
    for name, info in sections():
        model: Any = info.annotation
        rows = [field_row(key, item) for key, item in model.model_fields.items()]
        parts += [f"## `[{name}]`", paragraph(model), table(head, rows)]
    configs = {name: load_config(name) for name in PRESETS}
    given = [
        (f"`{name}.{key}`", *(getattr(getattr(config, name), key) for config in configs.values()))
        for name, info in sections()
        for key in info.annotation.model_fields  # type: ignore[union-attr]  # sections() yields models
    ]
    derived = [(f"`{name}`", *(getattr(Params(config), name) for config in configs.values())) for name in DERIVED]
    meanings = [(f"`{name}`", paragraph(inspect.getattr_static(Params, name))) for name in DERIVED]
    return page(
        "# The accelerator description",
        "An accelerator is a TOML file: a name and the sections below. What has a default may be left out; a field that does not "
        "exist, or a value that is not allowed, is an error that names the field, the value and the range. "
        "[accelerator.schema.json](accelerator.schema.json) is the same as JSON Schema, for editors. How to write one: "
        "[an accelerator of your own](../how-to/accelerator.md).",
        table(head, [field_row("name", Config.model_fields["name"])]),
        *parts,
        "## Together",
        "Each of the `scratchpad_banks` banks has at least 16 words of `max(rows, columns)` bytes. The accumulators hold "
        "16 to 65536 pixels (4 bytes a column).",
        "## Presets",
        table(("field", *PRESETS), given),
        "## What follows",
        "Numbers that the hardware, the mapper and the simulators derive from a description (`systola.hw.params.Params`).",
        table(("number", "meaning"), meanings),
        table(("number", *PRESETS), derived),
    )


def schema_page() -> str:
    """The JSON Schema of a description."""
    return json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


# --- instruction set -----------------------------------------------------------------------------------------------


def bit_rows(fields: Iterable[isa.Field], position: int = 0) -> Iterable[Sequence[object]]:
    """Rows of a field table, from bit ``position`` up."""
    for item in fields:
        end = position + item.width_bits - 1
        bits = str(end) if end == position else f"{end}…{position}"
        yield bits, f"`{item.name}`", item.width_bits, "yes" if item.signed else "", item.meaning
        position = end + 1


def isa_page() -> str:
    """Every instruction's fields."""
    head = ("bits", "field", "width", "signed", "meaning")
    header_bits = sum(item.width_bits for item in isa.HEADER)
    parts = []
    for opcode, (units, fields) in isa.INSTRUCTIONS.items():
        used = header_bits + sum(item.width_bits for item in fields)
        size = units * isa.UNIT_BYTES
        facts = f"Opcode {int(opcode)}; {size} bytes; {used} of {8 * size} bits used."
        body = table(head, bit_rows(fields, header_bits)) if fields else "The header only."
        parts += [f"## {opcode.name}", facts, body]
    operations = [(int(op), op.name, member_meanings(isa.VectorOp)[op]) for op in isa.VectorOp]
    text = [plain(part) for part in (inspect.getdoc(isa) or "").split("\n\n")[1:]]
    return page(
        "# The instruction set",
        f"Version {isa.ISA_VERSION}. What the engines do with the fields: [how the machine works](../explanation/machine.md).",
        *(part.strip() for part in text),
        "## Header",
        "The first bits of every instruction.",
        table(head, bit_rows(isa.HEADER)),
        "Engines, in the order of `wait_enable`'s bits: " + ", ".join(f"{int(e)} {e.name.lower()}" for e in isa.ENGINES) + ".",
        *parts,
        "## VectorOp",
        paragraph(isa.VectorOp),
        table(("value", "name", "what"), operations),
        "## Requantization record",
        f"{isa.RECORD_BYTES} bytes for a channel, little endian. Records of a block follow each other by channel, and fill whole "
        "words.",
        table(head, bit_rows(isa.RECORD)),
    )


# --- report --------------------------------------------------------------------------------------------------------


def type_name(annotation: Any) -> str:
    """A type as a reader of JSON sees it."""
    if isinstance(annotation, type) and not get_args(annotation):
        known = {type(None): "null", str: "text", bool: "true or false", int: "integer", float: "number"}
        return known.get(annotation, f"[{annotation.__name__}](#{annotation.__name__.lower()})")
    parts, kind = get_args(annotation), get_origin(annotation)
    if kind is list:
        return f"list of {type_name(parts[0])}"
    if kind is dict:
        return "object" if parts[1] is Any else f"{type_name(parts[1])} by name"
    if kind is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    return " or ".join(type_name(part) for part in parts)


def report_models(model: Any) -> list[Any]:
    """A model and those that its fields hold, each once, outermost first."""
    found = [model]
    for parent in found:
        for info in parent.model_fields.values():
            inner = [info.annotation]
            for kind in inner:
                inner += get_args(kind)
                if isinstance(kind, type(BaseModel)) and kind not in found:
                    found.append(kind)
    return found


def report_page() -> str:
    """Every field of report.json."""
    parts = []
    for model in report_models(Report):
        rows = [(f"`{name}`", type_name(info.annotation), info.description or "") for name, info in model.model_fields.items()]
        parts += [f"## {model.__name__}", paragraph(model), table(("field", "type", "meaning"), rows)]
    return page(
        "# report.json",
        "What `systola run -o DIR` writes and `--json` prints; [report.schema.json](report.schema.json) is its JSON Schema. "
        "Energies are in joules, times in seconds, sizes in bytes. What was not measured is null.",
        *parts,
    )


def cycles_page() -> str:
    """What a cycle can go to, and why it was lost."""
    sources: dict[Use, list[str]] = {use: [] for use in Use}
    for cycle_class in registers.CycleClass:
        sources[Use(int(USE_OF_CLASS[cycle_class]))].append(cycle_class.name)
    for use in (Use.ROWS, Use.COLUMNS, Use.REPEATED):
        sources[use] = sources[Use.USEFUL]
    for use in (Use.START, Use.FINISH):
        sources[use] = sources[Use.FETCH]
    uses = (
        (f"`{use.name.lower()}`", USE_WORDS[use], ", ".join(sources[use]), USE_MEANINGS[use]) for use in Use
    )
    causes = ((f"`{c.name.lower()}`", CAUSE_WORDS[c], *CAUSE_MEANINGS[c]) for c in Cause)
    return page(
        "# Where the cycles go",
        "Every cycle of every engine, from start to end, is in exactly one of these classes, and belongs to one layer; so "
        "for each engine classes and layers sum to the run's cycles exactly: a report whose sums were not would not be "
        "written.",
        "## What a cycle went to",
        "`engines` in [report.json](report.md). The accelerator's counters ([CycleClass](registers.md#cycleclass), "
        "`counters` in the report) say what an engine did; the trace says when, and so for which layer. What the report adds "
        "is the parting of BUSY by the shape of the layer's weights and channels, and of IDLE by when it was.",
        table(("in report.json", "shown as", "counters", "meaning"), uses),
        "**Which layer.** An engine's cycles up to the end of an instruction, since the end of the one before, belong to the "
        "instruction's layer, waiting for its operands included. An instruction ends when it is finished; on the array, when "
        "its last pixel has entered (and the flush is over, if the next one is not at hand), since the next instruction's "
        "pixels follow at once. What comes after an engine's last instruction is the last layer's.",
        "**Edge waste.** A busy cycle of the array is one pixel times one tile of `rows × columns` weights. In a layer every "
        "tile meets equally many pixels, so its busy cycles divide as the tiles' cells do: rows without a channel (whole "
        "rows count as rows), cells without a weight in the other rows (columns), weights. Of the weights' part, what is "
        "beyond the network's multiply-accumulates is `repeated`. Kernel positions packed into rows count as the channels "
        "that they then are. Drain and vector divide by output channels against columns and lanes. Parts are rounded to "
        "whole cycles so that they sum.",
        "**Latency or bandwidth.** A wait for memory counts as bandwidth if a data beat, of any engine, moved in the last "
        "`bus.data_bytes` cycles; so the last `bus.data_bytes − 1` cycles of that kind after a transfer are bandwidth, "
        "whatever follows.",
        "## Why: root causes",
        "`causes` in the report: the cycles of the judged engine (the array; where a network has no work for it, the "
        "busiest). Where it waits for another engine, the cause is what that one did in the same cycle, and where that one "
        "waited, what the next did. After the judged engine's last instruction it is what the engine that finishes last "
        "does. The largest of them, `useful` and `finish` apart, is what would help most; what it would save is at most its "
        "cycles, since another cause may take its place. (That is for the same program: for a changed accelerator the "
        "mapper may make a better one.)",
        table(("in report.json", "shown as", "the engine's cycle", "what to change"), causes),
    )


def report_schema_page() -> str:
    """The JSON Schema of report.json."""
    return json.dumps(report_schema(), indent=2, ensure_ascii=False) + "\n"


# --- errors and command line ---------------------------------------------------------------------------------------


def tree(kind: type[BaseException], depth: int = 0) -> list[str]:
    """An exception and those below it, indented, with what they mean."""
    here = "    " * depth + kind.__name__
    lines = [f"{here:<34}{paragraph(kind)}"]
    below = [k for k in kind.__subclasses__() if k.__module__ == errors.__name__]
    return lines + [line for k in below for line in tree(k, depth + 1)]


def errors_page() -> str:
    """The exceptions, as a tree."""
    return page(
        "# Errors",
        "What Systola raises on purpose (`systola.hw.errors`). A message is one paragraph: what was wrong, where, what was "
        "expected, what to do. The command line prints it to standard error and ends with status 1; a wrong option ends with 2, "
        "a search that finds nothing with 3, an interruption from the keyboard with 130.",
        "```text\n" + "\n".join(tree(errors.SystolaError)) + "\n```",
        "A `ModelError` has the `place` (file, line, column) and the offending `excerpt`.",
    )


def option_row(parameter: inspect.Parameter, hint: Any) -> Sequence[object]:
    """A row of a command's table, from a parameter and its ``Annotated`` type."""
    given = hint.__metadata__[0] if get_origin(hint) is Annotated else typer.Option()
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    kind = next(k for k in (*get_args(kind), kind) if k is not type(None))
    kind = get_args(kind)[0] if get_origin(kind) is list else kind  # it may be given several times
    if isinstance(given, ArgumentInfo):
        return f"`{parameter.name.upper()}`", "required", given.help
    usual = "--" + parameter.name.replace("_", "-")
    first = [given.default] if isinstance(given.default, str) else []  # where typer keeps the first name that Annotated gives
    named = [*first, *(given.param_decls or ())]
    names = ", ".join(named or ([usual, "--no-" + usual[2:]] if kind is bool else [usual]))
    low, high = given.min, given.max
    span = "" if low is None else f", {low} or more" if high is None else f", {low} … {high}"
    default = "required" if parameter.default is parameter.empty else parameter.default
    value = "" if kind is bool else f" {KINDS[kind]}{span}"
    return f"`{names}`{value}", "" if default in (None, False) else default, given.help


def cli_page() -> str:
    """Every command with its options."""
    parts = []
    for command in app.registered_commands:
        function: Any = command.callback
        name, hints = command.name or function.__name__, get_type_hints(function, include_extras=True)
        rows = [option_row(parameter, hints[key]) for key, parameter in inspect.signature(function).parameters.items()]
        required = [str(row[0]).strip("`") for row in rows if row[1] == "required"]
        usage = " ".join([f"systola {name}", *(r.split("` ")[0] + " …" * ("` " in r) for r in required), "[OPTIONS]"])
        parts += [f"## {name}", paragraph(function), f"```text\n{usage}\n```", table(("option", "default", "what"), rows)]
    return page(
        "# The command line",
        f"{app.info.help} What a command needs to know of the network and the accelerator:",
        "- `MODEL`: a folder with `graph.nnef`, its `.dat` files and, where the network is quantized, `graph.quant`; `samples/` "
        "in it holds what is run (`input.npy`) and what it is compared with (`ref_output.npy`, `label.npy`).\n"
        f"- `--accel`: a preset ({', '.join(PRESETS)}) or [a file](accelerator.md).",
        "`--help` after any command says the same as this page. Exit status: [errors](errors.md).",
        *parts,
    )


PAGES: dict[str, Callable[[], str]] = {
    "accelerator.md": accelerator_page,
    "accelerator.schema.json": schema_page,
    "isa.md": isa_page,
    "registers.md": lambda: page(*register_parts()),
    "report.md": report_page,
    "report.schema.json": report_schema_page,
    "cycles.md": cycles_page,
    "errors.md": errors_page,
    "cli.md": cli_page,
}


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or check them."""
    check, stale = "--check" in arguments, []
    for name, make in PAGES.items():
        path, text = REFERENCE / name, make()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"docs/reference/{name} " + ("is not current: run python docs/generate.py" if check else "written"))
    return int(bool(stale) and check)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
