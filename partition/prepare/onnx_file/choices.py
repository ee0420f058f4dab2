"""What a user says about an ONNX file besides its name: shapes, values, examples, outputs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partition import array_file
from partition.errors import ModelExportError, SampleError

Shape = tuple[int | str, ...]
"""Sizes; the first may be `N`, a batch of any size."""
FREE = "N"
ONLY = ""
"""Stands for the name of the only input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Choices for one file; each overrides what the file leaves open."""

    shapes: Mapping[str, Shape] = field(default_factory=dict)
    """By input; `ONLY` stands for the only one."""
    values: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    """Inputs that become constants."""
    example: Path | None = None
    """`.npy` or `.npz` of real inputs, as `partition.data.array_files` reads them."""
    outputs: tuple[str, ...] = ()
    """Tensors to stop at, instead of the file's outputs."""

    def __bool__(self) -> bool:
        """Whether anything is chosen."""
        return bool(self.shapes or self.values or self.example or self.outputs)

    def command(self, model: Path, shapes: Mapping[str, Shape]) -> str:
        """The command that prepares the file with these shapes and the other choices."""
        words = ["--model", str(model)]
        for name, shape in shapes.items():
            words += ["--shape", f"{name}={'x'.join(map(str, shape))}"]
        for name, value in self.values.items():
            words += ["--value", f"{name}={_text(value)}"]
        if self.example is not None:
            words += ["--example", str(self.example)]
        if self.outputs:
            words += ["--outputs", ",".join(self.outputs)]
        return f"python -m partition.prepare {shlex.join(words)}"


def parse_shape(text: str) -> tuple[str, Shape]:
    """`NAME=Nx3x224x224`, or without the name, as name and shape.

    Raises:
        ModelExportError: it is none.
    """
    name, _, sizes = text.rpartition("=")
    shape = tuple(FREE if size == FREE else _size(size) for size in sizes.split("x"))
    if None in shape or FREE in shape[1:]:
        raise ModelExportError(
            f"--shape {text!r} is no shape: write NAME=1x3x224x224, every size from 1, or N in the "
            "first place for a batch of any size"
        )
    return name, tuple(size for size in shape if size is not None)


def parse_value(text: str) -> tuple[str, npt.ArrayLike]:
    """`NAME=16000`, `NAME=0.5,0.5` or `NAME=FILE.npy` as name and value.

    Raises:
        ModelExportError: it is none, or the file cannot be read.
    """
    name, equals, value = text.rpartition("=")
    if not equals:
        raise ModelExportError(f"--value {text!r} names no input: write NAME=NUMBER")
    if value.endswith(".npy"):
        try:
            return name, array_file.read_array(Path(value))
        except (OSError, ValueError) as error:
            raise SampleError(
                f"--value {text!r}: the file cannot be read ({error}): write it with numpy.save"
            ) from error
    numbers = [_number(part) for part in value.split(",")]
    if None in numbers:
        raise ModelExportError(
            f"--value {text!r} is no value: write NAME=16000, NAME=true, NAME=0.5,0.5 or "
            "NAME=FILE.npy"
        )
    return name, numbers[0] if len(numbers) == 1 else numbers  # type: ignore[return-value]


def _size(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 2**31 else None


def _number(text: str) -> int | float | bool | None:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _text(value: Any) -> str:
    array = np.asarray(value)
    if array.size > 16:
        return "FILE.npy"
    texts = (str(one).lower() if array.dtype == np.bool_ else str(one) for one in array.ravel())
    return ",".join(texts)
