"""Every error Systola raises on purpose.

The tree::

    SystolaError                 anything below; the command line prints it and exits with status 1
    ├── ConfigError              accelerator description: field, value and allowed range
    ├── ModelError               the network's files; carries the place (file, line, column)
    │   ├── SyntaxModelError     text that is not NNEF or graph.quant
    │   ├── SemanticModelError   undefined or doubly assigned names, wrong types, wrong shapes
    │   └── DataModelError       tensor files: missing, truncated, oversized, outside the folder
    ├── QuantizationError        calibration or quantization parameters that cannot be used
    ├── MappingError             the network cannot be placed on this accelerator
    ├── ImageError               an image that is damaged or was made for another accelerator
    ├── DeviceError              the accelerator stopped with an error status, or did not answer
    ├── MismatchError            two backends disagree on a byte
    └── ToolError                a needed program is missing or failed (compiler, Verilator)

A message is one paragraph for a person: what was wrong, where, what was expected and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ConfigError",
    "DataModelError",
    "DeviceError",
    "ImageError",
    "MappingError",
    "MismatchError",
    "ModelError",
    "Place",
    "QuantizationError",
    "SemanticModelError",
    "SyntaxModelError",
    "SystolaError",
    "ToolError",
]


@dataclass(frozen=True)
class Place:
    """A place in a user's file. ``line`` and ``column`` count from 1; 0 means the whole file."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """The usual ``file:line:column`` form."""
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


class SystolaError(Exception):
    """The root of the tree."""


class ConfigError(SystolaError):
    """The accelerator description is not valid."""


class ModelError(SystolaError):
    """The network's files cannot be used.

    ``place`` is where; ``excerpt`` is the offending text, shown on a line of its own when given.
    """

    def __init__(self, message: str, place: Place | None = None, excerpt: str = "") -> None:
        self.place = place
        self.excerpt = excerpt
        text = f"{place}: {message}" if place else message
        super().__init__(f"{text}\n    {excerpt}" if excerpt else text)


class SyntaxModelError(ModelError):
    """The text is not NNEF."""


class SemanticModelError(ModelError):
    """The text is NNEF but breaks one of its rules."""


class DataModelError(ModelError):
    """A tensor file cannot be used."""


class QuantizationError(SystolaError):
    """The quantization parameters or the calibration samples cannot be used."""


class MappingError(SystolaError):
    """The network does not fit the accelerator."""


class ImageError(SystolaError):
    """The image is damaged, or made for another accelerator."""


class DeviceError(SystolaError):
    """The accelerator stopped with an error, or did not answer in time."""


class MismatchError(SystolaError):
    """Two backends disagree."""


class ToolError(SystolaError):
    """A program that Systola needs is missing or failed."""
