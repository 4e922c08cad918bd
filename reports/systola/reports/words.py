"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from systola.reports.schema import Bounded

__all__ = ["ENGINE_NAMES", "bounded", "bytes_text", "count_text", "percent", "quantity", "shape_text", "shorten"]

ENGINE_NAMES = {
    "load": "load engine", "array": "array", "drain": "drain", "vector": "vector engine", "store": "store engine",
}  # fmt: skip
"""As sentences call them."""

PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def _prefix(value: float) -> tuple[float, str]:
    return next((p for p in PREFIXES if abs(value) >= p[0]), PREFIXES[-1] if value else PREFIXES[0])


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def quantity(value: float, unit: str) -> str:
    """Three digits and an SI prefix: ``quantity(0.00056, "s")`` is "560 µs"."""
    factor, letter = _prefix(value)
    return f"{_digits(value / factor)} {letter}{unit}"


def bounded(figure: Bounded, unit: str) -> str:
    """Value and bounds in one unit: "31.2 µJ (12.0 … 70.1)"."""
    factor, letter = _prefix(figure.value)
    value, low, high = (_digits(f / factor) for f in (figure.value, figure.low, figure.high))
    return f"{value} {letter}{unit} ({low} … {high})"


def percent(share: float | None) -> str:
    """One decimal; nothing for None."""
    return "" if share is None else f"{share * 100:.1f} %"


def count_text(count: int | None) -> str:
    """Thousands apart; nothing for None."""
    return "" if count is None else f"{count:,}"


def bytes_text(count: int | None) -> str:
    """Bytes in B, KiB or MiB; nothing for None."""
    if count is None:
        return ""
    if count < 10_000:
        return f"{count:,} B"
    return f"{count / 1024:,.1f} KiB" if count < 1 << 20 else f"{count / (1 << 20):,.2f} MiB"


def shape_text(shape: Sequence[int]) -> str:
    """Dimensions with × between them."""
    return "×".join(map(str, shape))


def shorten(text: str, length: int) -> str:
    """At most ``length`` characters; the middle goes."""
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}…{text[len(text) - (length - 1 - head):]}"
