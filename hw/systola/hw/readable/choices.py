"""Choices by a value as a ``case`` of that value.

yosys writes a choice as a function with a bit for each case, and computes the bits outside of it. Where each bit says that one
signal has one value, the signal may as well be the function's argument.
"""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["chosen_by_value"]

_CHOICE = re.compile(
    r"(?P<head>  function (?:\[\d+:0\] )?(?P<function>made_\d+);\n    input (?:\[\d+:0\] )?a;\n    input \[\d+:0\] b;\n)"
    r"    input \[\d+:0\] s;\n    \(\* parallel_case \*\)\n    casez \(s\)\n(?P<cases>(?:      [01?'b\d]+:\n.*\n)+?)"
    r"(?P<rest>      default:\n.*\n    endcase\n  endfunction\n  assign .* = (?P=function)\(.*, )\{ (?P<bits>[^{}]*) \}\);\n"
)
_CASE = re.compile(r"      [\d'b01?]+:\n(.*)\n")
_ASSIGN = re.compile(r"^  assign (made_\d+) = (?:(\S+) == (\d+'h[0-9a-f]+)|! (\S+));\n", re.MULTILINE)
_WIDTH = re.compile(r"^  (?:input|output|wire|reg) (?:\[(\d+):0\] )?(\w+)(?: = [^;]*)?;\n", re.MULTILINE)
_WORD = re.compile(r"made_\d+")


def chosen_by_value(text: str) -> str:
    """The module with such choices rewritten; comparisons that nothing else needs are gone."""
    widths = {name: int(high or 0) + 1 for high, name in _WIDTH.findall(text)}
    tests = {name: (signal or negated, value or "1'h0") for name, signal, value, negated in _ASSIGN.findall(text)}
    rewritten = _CHOICE.sub(lambda found: _by_value(found, tests, widths), text)
    uses = Counter(_WORD.findall(rewritten))
    before = Counter(_WORD.findall(text))
    unused = {name for name in tests if uses[name] == 2 and before[name] > 2}  # declared and assigned
    rewritten = _ASSIGN.sub(lambda found: "" if found[1] in unused else found[0], rewritten)
    return _WIDTH.sub(lambda found: "" if found[2] in unused else found[0], rewritten)


def _by_value(found: re.Match[str], tests: dict[str, tuple[str, str]], widths: dict[str, int]) -> str:
    """The function and its call, if all bits test one signal for different values; else as they are."""
    bits = found["bits"].split(", ")[::-1]
    if not all(bit in tests for bit in bits):
        return found[0]
    signals, values = {tests[bit][0] for bit in bits}, [tests[bit][1] for bit in bits]
    width = _width(next(iter(signals)), widths)
    if len(signals) != 1 or width is None or len({value.partition("'h")[2].lstrip("0") for value in values}) < len(values):
        return found[0]
    shape = f"[{width - 1}:0] " if width > 1 else ""
    cases = "".join(f"      {value}:\n{line}\n" for value, line in zip(values, _CASE.findall(found["cases"]), strict=True))
    return f"{found['head']}    input {shape}s;\n    case (s)\n{cases}{found['rest']}{signals.pop()});\n"


def _width(signal: str, widths: dict[str, int]) -> int | None:
    """Bits of a name, or of a part of one."""
    part = re.fullmatch(r"\w+\[(\d+)(?::(\d+))?\]", signal)
    if part:
        return int(part[1]) - int(part[2] or part[1]) + 1
    return widths.get(signal)
