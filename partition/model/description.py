"""Description of a prepared network: `cuts.json`, read without trust in who made it.

Schema 3::

    {"schema_version": 3, "name": TEXT, "fingerprint": HEX, "dynamic_batch": true | false,
     "inputs": [{"name": TENSOR, "dtype": TYPE, "shape": [N, ...]}, ...], "outputs": [...],
     "preprocess": {"crop_fraction": 0..1, "mean": [R, G, B], "std": [R, G, B]} | null,
     "cuts": [{"name": TEXT, "tensors": [TENSOR, ...], "shapes": [[N, ...], ...],
               "dtypes": [TYPE, ...], "head": {"flops": N, "param_bytes": N,
               "traffic_bytes": N, "kernels": N}, "peak_bytes": N}, ...]}
"""

from __future__ import annotations

import math
from dataclasses import astuple
from itertools import pairwise
from typing import Annotated, Any

from msgspec import Meta

from common.schema import Count, Table, convert, shown
from partition.codec.encoded import MAX_DIMS
from partition.codec.message_sizes import RAW_NAMES, RAW_TYPES
from partition.model.cost import Cost
from partition.model.split_point import Preprocess, SplitPoint, TensorSpec

SCHEMA_VERSION = 3
MAX_TENSORS = 8
"""That cross a cut, go in, or come out."""
_MAX_VALUES = 2**40
"""Of a tensor; no memory holds more."""
_MAX_CUTS = 2**16
"""What a request's field for the split point holds."""
_PARENTS = (".", "..")

_Name = Annotated[str, Meta(pattern=r"\S", max_length=1024)]
_Shape = Annotated[
    tuple[Annotated[int, Meta(ge=-1, le=_MAX_VALUES)], ...], Meta(max_length=MAX_DIMS)
]
_Rgb = tuple[float, float, float]


class _Spec(Table, frozen=True):
    """An input or an output."""

    name: _Name
    dtype: str
    shape: _Shape


class _Preprocess(Table, frozen=True):
    """How a photograph becomes the input, whose size it gets."""

    crop_fraction: float
    mean: _Rgb
    std: _Rgb


class _Cut(Table, frozen=True):
    """A legal cut."""

    name: _Name
    tensors: Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=MAX_TENSORS)]
    shapes: tuple[_Shape, ...]
    dtypes: tuple[str, ...]
    head: Cost
    peak_bytes: Count

    def __post_init__(self) -> None:
        """Refuse a name that leaves its folder, and lists that do not belong together."""
        if self.name in _PARENTS or "\0" in self.name:
            raise ValueError(f"name is {shown(self.name)}, which no folder can have")
        counts = len(self.tensors), len(self.shapes), len(self.dtypes)
        if len(set(counts)) > 1:
            raise ValueError("tensors, shapes and dtypes number {}, {} and {}".format(*counts))
        if len(set(self.tensors)) < len(self.tensors):
            raise ValueError("tensors holds one twice")
        if unknown := set(self.dtypes).difference(RAW_TYPES):
            raise ValueError(f"dtypes has {shown(min(unknown))}; a message carries {RAW_NAMES}")
        if any(abs(math.prod(shape)) >= _MAX_VALUES or 0 in shape for shape in self.shapes):
            raise ValueError(f"shapes {list(map(list, self.shapes))} has one that no tensor has")

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """What crosses."""
        return tuple(map(TensorSpec, self.tensors, self.dtypes, self.shapes))


class Description(Table, frozen=True):
    """All of the file."""

    schema_version: int
    name: _Name
    fingerprint: Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
    dynamic_batch: bool
    inputs: tuple[_Spec, ...]
    outputs: tuple[_Spec, ...]
    preprocess: _Preprocess | None
    cuts: Annotated[tuple[_Cut, ...], Meta(min_length=2, max_length=_MAX_CUTS)]

    def __post_init__(self) -> None:
        """Refuse cuts that contradict each other, or the inputs and outputs."""
        names = [cut.name for cut in self.cuts]
        if len(set(names)) < len(names):
            raise ValueError("cuts holds a name twice")
        for side, specs, cut in (
            ("inputs", self.inputs, self.cuts[0]),
            ("outputs", self.outputs, self.cuts[-1]),
        ):
            if tuple(TensorSpec(spec.name, spec.dtype, spec.shape) for spec in specs) != cut.specs:
                raise ValueError(f"{side} is not what crosses at {shown(cut.name)}")
        for cut in self.cuts[:-1]:  # the shape of an output may depend on the data
            if any(size < 0 for shape in cut.shapes for size in shape):
                raise ValueError(f"shapes of {shown(cut.name)} has a negative size")
        for before, after in pairwise(self.cuts):
            if any(work > more for work, more in zip(*map(_work, (before, after)), strict=True)):
                raise ValueError(f"head of {shown(after.name)} is less than that of the cut before")

    def split_points(self) -> tuple[SplitPoint, ...]:
        """Every legal cut by depth: the input first, the output last."""
        total, last = self.cuts[-1].head, len(self.cuts) - 1
        return tuple(
            SplitPoint(
                index=i,
                name=cut.name,
                tensors=cut.tensors,
                shapes=cut.shapes,
                dtypes=cut.dtypes,
                head=cut.head,
                tail=total - cut.head,
                peak_bytes=cut.peak_bytes,
                is_input=i == 0,
                is_output=i == last,
            )
            for i, cut in enumerate(self.cuts)
        )

    def preprocessing(self) -> Preprocess | None:
        """Of photographs.

        Raises:
            ValueError: its numbers are none that a photograph survives.
        """
        if (given := self.preprocess) is None:
            return None
        shape = self.inputs[0].shape
        if not shape:
            raise ValueError(f"preprocess is given, but {self.inputs[0].name} is a single number")
        return Preprocess(shape[-1], given.crop_fraction, given.mean, given.std)


def _work(cut: _Cut) -> tuple[int, ...]:
    return astuple(cut.head)


def parse(document: Any) -> Description:
    """A description, checked.

    Raises:
        ValueError: it is none; the message names the key, its value and what is wrong.
    """
    return convert(document, Description)
