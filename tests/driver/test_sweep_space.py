"""The space of a sweep: axes, ranges, constraints; and what is said of a wrong one."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from systola.driver.sweep.expressions import parse_expression
from systola.driver.sweep.points import PointMaker
from systola.driver.sweep.space import METHOD_AXIS, config_fields, load_space, nested
from systola.driver.sweep.strategies import Grid, RandomPoints
from systola.hw.config import PRESETS, config_from, load_config
from systola.hw.errors import ConfigError

FIELDS = {"array.rows": 16, "array.columns": 8, "dram.latency_cycles": 0, "technology.name": "45nm"}


def space_file(folder: Path, text: str) -> Path:
    """A space in a file."""
    path = folder / "space.toml"
    path.write_text(text, encoding="utf-8")
    return path


def maker_of(folder: Path, text: str) -> PointMaker:
    """What makes the points of a space."""
    return PointMaker(*load_space(space_file(folder, text)))


def axis(folder: Path, value: str, name: str = "clock.frequency_mhz") -> tuple[Any, ...]:
    """The values of an axis written so."""
    space, _ = load_space(space_file(folder, f'base = "small"\n[axes]\n"{name}" = {value}\n'))
    return space.axis_definitions()[0].values


# ---- Constraints ----


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("array.rows == 2 * array.columns", True),
        ("array.rows == array.columns", False),
        ("4 <= array.columns < array.rows <= 16", True),
        ("not array.rows > 16 and (array.columns == 4 or array.columns == 8)", True),
        ("array.rows // 3 == 5 and array.rows % 3 == 1 and array.rows / 32 == 0.5", True),
        ("-array.rows + 16 == 0", True),
        ('technology.name == "45nm"', True),
        ('technology.name != "7nm" and technology.name < "5"', True),
        ("array.rows / dram.latency_cycles > 1", False),  # not computable: does not hold
        ("array.rows - 1 - 1 == 14", True),
        ("array.rows or array.rows / 0", True),
    ],
)
def test_constraint(text: str, holds: bool) -> None:
    """Arithmetic, chains of comparisons, and/or/not as in Python."""
    assert parse_expression(text).holds(FIELDS) is holds


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "array.rows.__class__()", "[1, 2]", "array.rows ** 99999999", "1 << 99999999",
        "(lambda: 1)()", "array.rows if 1 else 2", "f'{array.rows}'", "array.rows; 1", "array.rows =", "", "'a' @ 'b'",
        "array.rows in (1, 2)", "None", "b'x' == 1", "1j", "(1).real", "x := 3", "+", "~array.rows",
    ],
)  # fmt: skip
def test_nothing_else_is_a_constraint(text: str) -> None:
    """No calls, no attributes of values, no powers."""
    with pytest.raises(ConfigError, match="constraint"):
        parse_expression(text).holds(FIELDS)


@pytest.mark.parametrize("text", ["(" * 400 + "1" + ")" * 400, "-" * 900 + "1", "1" * 2000])
def test_deep_or_long_constraints(text: str) -> None:
    """An error of ours, or a value: nothing of Python's gets through."""
    with suppress(ConfigError):
        parse_expression(text).holds(FIELDS)


@pytest.mark.parametrize("text", ["technology.name > 3", '"a" * 3 == "aaa"', 'technology.name + "x" == "45nmx"'])
def test_text_is_no_number(text: str) -> None:
    """Text compares with text, and is not calculated with."""
    with pytest.raises(ConfigError, match="a text and a number"):
        parse_expression(text).holds(FIELDS)


@given(st.integers(0, 50), st.integers(1, 50), st.sampled_from(["+", "-", "*", "//", "%"]), st.sampled_from(["<", "==", ">="]))
def test_arithmetic_is_pythons(a: int, b: int, operation: str, comparison: str) -> None:
    """Any pair of numbers: the same as Python's."""
    text = f"a {operation} b {comparison} b"
    assert parse_expression(text).holds({"a": a, "b": b}) == eval(text, {"a": a, "b": b})


# ---- Axes ----


def test_lists_and_ranges(tmp_path: Path) -> None:
    """Lists as they are, ranges by steps and by factors, whole numbers where they can be."""
    assert axis(tmp_path, "[100, 50.5]") == (100, 50.5)
    assert axis(tmp_path, "{from = 50, to = 125, step = 25}") == (50, 75, 100, 125)
    assert axis(tmp_path, "{from = 0.1, to = 0.7, step = 0.1}") == pytest.approx((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7))
    assert axis(tmp_path, "{from = 8, to = 64, factor = 2}", "array.rows") == (8, 16, 32, 64)
    assert axis(tmp_path, "{from = 8, to = 63, factor = 2}", "array.rows") == (8, 16, 32)
    assert axis(tmp_path, "{from = 1, to = 1000, factor = 10}", "dram.latency_cycles") == (1, 10, 100, 1000)
    assert axis(tmp_path, '["minmax", "mse"]', METHOD_AXIS) == ("minmax", "mse")


def test_names_with_and_without_quotes(tmp_path: Path) -> None:
    """TOML takes a dotted name for a section; that is the same axis."""
    text = """
        base = "small"
        [axes]
        array.rows = [8, 16]
        "array.columns" = [8]
        clock.frequency_mhz = {from = 50, to = 100, step = 50}
    """
    space, _ = load_space(space_file(tmp_path, text))
    assert {a.name: a.values for a in space.axis_definitions()} == {
        "array.rows": (8, 16), "array.columns": (8,), "clock.frequency_mhz": (50, 100),
    }  # fmt: skip


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(1, 100))
def test_ranges_are_pythons(first: int, length: int, step: int) -> None:
    """A range with whole steps is Python's, its end in it."""
    from systola.driver.sweep.space import Range

    drawn = Range.model_validate({"from": first, "to": first + length, "step": step})
    assert drawn.values() == tuple(range(first, first + length + 1, step))


@pytest.mark.parametrize("preset", PRESETS)
def test_fields_and_back(preset: str) -> None:
    """Dotted names hold all of a description."""
    config = load_config(preset)
    assert config_from(nested(config_fields(config)), "here") == config


def test_grid_in_order(tmp_path: Path) -> None:
    """Every combination that the constraints allow; the last axis changes fastest."""
    text = """
        base = "small"
        constraints = ["array.rows >= array.columns"]
        [axes]
        "array.rows" = [8, 16]
        "array.columns" = [8, 16]
        "quantize.method" = ["mse", "minmax"]
    """
    grid = Grid(maker_of(tmp_path, text))
    points = [point for batch in grid.batches() for point in batch]
    assert [(p.axes["array.rows"], p.axes["array.columns"], p.method) for p in points] == [
        (8, 8, "mse"), (8, 8, "minmax"), (16, 8, "mse"), (16, 8, "minmax"), (16, 16, "mse"), (16, 16, "minmax"),
    ]  # fmt: skip
    assert grid.total == 6 == len({point.hash for point in points})
    assert [point.ordinal for point in points] == list(range(6))
    for point in points:
        config = config_from(point.config, "here")
        assert (config.array.rows, config.array.columns) == (point.axes["array.rows"], point.axes["array.columns"])
        assert config.name.endswith(point.hash)


def test_hash_is_of_the_values(tmp_path: Path) -> None:
    """The same description has the same hash: however its numbers are written, whatever the axes."""
    first = maker_of(tmp_path, 'base = "small"\n[axes]\n"clock.frequency_mhz" = [100, 200]\n')
    other = maker_of(tmp_path, 'base = "small"\n[axes]\n"clock.frequency_mhz" = [100.0]\n"array.rows" = [8]\n')
    rows = load_config("small").array.rows
    a = first.point(first.fields([100]), 0)
    assert a.hash == other.point(other.fields([100.0, rows]), 7).hash
    assert a.hash != first.point(first.fields([200]), 0).hash
    assert json.loads(json.dumps(a.config)) == a.config


def test_random_points(tmp_path: Path) -> None:
    """None twice, the same for the same seed, and more begin with the same ones."""
    text = """
        base = "small"
        constraints = ["array.rows != 16"]
        [axes]
        "array.rows" = [4, 8, 16, 32]
        "dram.latency_cycles" = {from = 1, to = 100, step = 1}
    """
    maker = maker_of(tmp_path, text)

    def drawn(points: int, seed: int = 1) -> list[str]:
        return [point.hash for batch in RandomPoints(maker, points, seed).batches() for point in batch]

    twenty = drawn(20)
    assert len(set(twenty)) == 20 and drawn(20) == twenty and drawn(50)[:20] == twenty and drawn(20, 2) != twenty
    everything = RandomPoints(maker, 1000, 0)
    assert len([point for batch in everything.batches() for point in batch]) == everything.total == 300


def test_nothing_is_allowed(tmp_path: Path) -> None:
    """Constraints that exclude every point are an error."""
    text = 'base = "small"\nconstraints = ["array.rows > 99"]\n[axes]\n"array.rows" = [4, 8]\n'
    with pytest.raises(ConfigError, match="nothing to sweep"):
        Grid(maker_of(tmp_path, text))
    with pytest.raises(ConfigError, match="meets every constraint"):
        list(next(RandomPoints(maker_of(tmp_path, text), 5, 0).batches()))


# ---- What is said of a wrong file ----


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base = ", "is not TOML"),
        ("[axes]\n'array.rows' = [8]", "base: missing"),
        ('base = "small"\n[axes]', "axes: is {}: dictionary should have at least 1 item"),
        ('base = "small"\n[axes]\n"array.row" = [8]', "axes has 'array.row', which is no field"),
        ('base = "small"\n[axes]\n"name" = ["x"]', "axes has 'name'"),
        ('base = "small"\n[axes]\n"array.rows" = [8, 8]', "a value twice"),
        ('base = "small"\n[axes]\n"array.rows" = []', "axes.array.rows: is"),
        ('base = "small"\n[axes]\n"array.rows" = [8.5]', "takes a whole number"),
        ('base = "small"\n[axes]\n"array.rows" = ["8"]', "takes a whole number"),
        ('base = "small"\n[axes]\n"clock.frequency_mhz" = ["fast"]', "takes a number"),
        ('base = "small"\n[axes]\n"technology.name" = [7]', "takes a text"),
        ('base = "small"\n[axes]\n"quantize.method" = ["best"]', "the methods are"),
        ('base = "small"\n[axes]\n"array.rows" = {from = 8, to = 16}', "either step or factor"),
        ('base = "small"\n[axes]\n"array.rows" = {from = 8, to = 16, step = 1, factor = 2}', "either step or factor"),
        ('base = "small"\n[axes]\n"array.rows" = {from = 16, to = 8, step = 1}', "to must not be smaller"),
        ('base = "small"\n[axes]\n"array.rows" = {from = 8, to = 16, step = 0}', "greater than 0"),
        ('base = "small"\n[axes]\n"array.rows" = {from = 0, to = 16, factor = 2}', "must be positive"),
        ('base = "small"\n[axes]\n"array.rows" = {from = 8, to = 16, factor = 1}', "greater than 1"),
        ('base = "small"\n[axes]\n"dram.latency_cycles" = {from = 1, to = 1e9, step = 1}', "more than 10000 values"),
        ('base = "small"\n[axes]\n"dram.latency_cycles" = {from = 1, to = inf, step = 1}', "finite"),
        ('base = "small"\nfast = true\n[axes]\n"array.rows" = [8]', "fast: no such field"),
        ('base = "small"\nconstraints = ["array.rowz > 1"]\n[axes]\n"array.rows" = [8]', "names 'array.rowz'"),
        ('base = "small"\nconstraints = ["open(1)"]\n[axes]\n"array.rows" = [8]', "constraint 'open"),
        ('base = "small"\nconstraints = ["array.rows > \'a\'"]\n[axes]\n"array.rows" = [8]', "a text and a number"),
        ('base = "small"\n[axes]\n"array.rows" = [8]\n[objectives]\nspeed = "max"', "objectives has 'speed'; the figures are"),
        ('base = "small"\n[axes]\n"array.rows" = [8]\n[objectives]\ncycles = "less"', "objectives.cycles"),
        ('base = "small"\n[axes]\n"array.rows" = [8]\n[sampling]\nstrategy = "random"', "needs points"),
        ('base = "small"\n[axes]\n"array.rows" = [8]\n[sampling]\npoints = 5', "leave points out"),
        ('base = "small"\n[axes]\n"array.rows" = [8]\n[networks]\na = 0', "networks.a: is 0"),
        ('base = "nowhere.toml"\n[axes]\n"array.rows" = [8]', "no accelerator description"),
    ],
)
def test_wrong_space(tmp_path: Path, text: str, message: str) -> None:
    """The error names the file, the field and what was expected."""
    with pytest.raises(ConfigError) as caught:
        load_space(space_file(tmp_path, text))
    assert message in str(caught.value)


def test_no_space(tmp_path: Path) -> None:
    """A file that is not there, or no text."""
    with pytest.raises(ConfigError, match="there is no file"):
        load_space(tmp_path / "space.toml")
    (tmp_path / "space.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_space(tmp_path / "space.toml")


def test_base_beside_the_space(tmp_path: Path) -> None:
    """A base is looked for from the space's folder."""
    description = (Path(__file__).parents[2] / "hw/systola/hw/presets/tiny.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(description.replace('"tiny"', '"mine"'), encoding="utf-8")
    _, config = load_space(space_file(tmp_path, 'base = "mine.toml"\n[axes]\n"array.rows" = [8]\n'))
    assert config.name == "mine"


def test_too_large_a_grid(tmp_path: Path) -> None:
    """A grid without end is refused, and what to do is said."""
    text = 'base = "small"\n[axes]\n' + "".join(
        f'"{name}" = {{from = 1, to = 128, step = 1}}\n'
        for name in ("dram.latency_cycles", "dram.bytes_per_cycle", "clock.frequency_mhz")
    )
    with pytest.raises(ConfigError, match="2,097,152 combinations"):
        Grid(maker_of(tmp_path, text))
