"""An accelerator description as TOML, as ``load_config`` reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["description_toml"]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def description_toml(config: Mapping[str, Any]) -> str:
    """Fields first, then a table for each section; fields that are None are left out, as TOML has no such value."""
    plain = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    sections = {key: value for key, value in config.items() if isinstance(value, Mapping)}
    parts = [_fields(plain)] if plain else []
    parts += [f"[{_key(name)}]\n{_fields(fields)}" for name, fields in sections.items()]
    return "\n".join(parts)


def _fields(fields: Mapping[str, Any]) -> str:
    return "".join(f"{_key(name)} = {_value(value)}\n" for name, value in fields.items() if value is not None)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(own)}" for name, own in value.items() if own is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _text(str(value))


def _text(text: str) -> str:
    """JSON's escapes are TOML's; TOML also wants one for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
