"""Routes of an inference: where to cut, which share of the channels to send, in how many bits.

A model folder lists its routes by depth, the input first (cloud-only), the output last (edge-only).
Without attention these are its split points. With attention each split point is followed by those
choices of xi and bits that no other one beats in bytes, work on the edge and accuracy at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from partition.codec import quantisers
from partition.model.accuracy_table import AccuracyRow, AccuracyTable, AccuracyTableError
from partition.model.attention_files import Attention
from partition.model.cost import Cost
from partition.model.split_point import SplitPoint

_FEWER_BYTES = 0.7
"""A route of the same cut must send this share of the one before it, or is left out."""
_BITS = quantisers.DEFAULT.bits
"""Of a plain route, and of rows in which nothing is sent."""


@dataclass(frozen=True, slots=True)
class Route:
    """How one inference is served."""

    split: int
    """Index into `ModelFolder.split_points`."""
    xi: float = 1.0
    """Share of the cut tensor's channels that is sent, least important first. 1 is classic split
    computing; less needs attention at this split point; 0 lets its light branch answer alone."""
    bits: int = quantisers.DEFAULT.bits
    """Of a sent value."""


@dataclass(frozen=True, slots=True)
class RouteOption:
    """A route that may be chosen, and what it costs."""

    route: Route
    name: str
    """`CUT`, `CUT/int4`, or `CUT/xi0.3/int4`; one word."""
    wire_bytes: int
    """Uplink, headers included; 0 where nothing is sent."""
    edge: Cost
    """Before anything is sent: head, and attention and light branch if xi < 1."""
    fallback: Cost
    """What the edge has left to do when no answer comes: tail, or light branch on all channels."""
    cloud_flops: int
    accuracy: float | None
    """Share of right answers on test images where it was measured; otherwise what is left of the
    unsplit network's answer, as profiled. None: unknown, of all routes of a network or of none."""
    interval: tuple[float, float] | None
    """95 % of a measured accuracy."""
    fallback_accuracy: float | None
    """Of the answer that the edge gives alone, in the same terms."""


def options(
    points: Sequence[SplitPoint], fidelity: Sequence[float] | None, attention: Attention | None
) -> tuple[RouteOption, ...]:
    """The routes of a model folder.

    Where accuracies were measured, a cut of which none is known is left out: nobody could weigh it
    against the others.

    Args:
        points: its split points.
        fidelity: what is left of the unsplit network's answer at each of them, which for a measured
            accuracy is the share of first choices that stay; None: unknown.
        attention: what was trained.

    Raises:
        AccuracyTableError: the table lacks the input or the output.
    """
    left = fidelity or (None,) * len(points)
    if attention is None:
        whole = None if fidelity is None else 1.0
        return tuple(
            _plain(point, share, None, whole) for point, share in zip(points, left, strict=True)
        )
    table = attention.table
    plain = [_measured(point, share, table) for point, share in zip(points, left, strict=True)]
    found: list[RouteOption] = []
    for point, first in zip(points, plain, strict=True):
        if first is None:
            continue
        rows = [row for row in table.rows if row.split == point.name]
        best = [row for row in rows if not _is_beaten(row, table) and not _is_plain(row, point)]
        best.sort(key=lambda row: (-row.wire_bytes, -row.validation_accuracy))
        found.append(first)
        left_bytes = first.wire_bytes
        for row in best:
            if row.wire_bytes <= _FEWER_BYTES * left_bytes:
                found.append(_variant(point, row, attention))
                left_bytes = row.wire_bytes
    return tuple(found)


def _plain(
    point: SplitPoint,
    accuracy: float | None,
    interval: tuple[float, float] | None,
    whole: float | None,
) -> RouteOption:
    """All channels in 8 bits, the tail in the cloud or, failing that, on the edge."""
    return RouteOption(
        route=Route(point.index),
        name=point.name,
        wire_bytes=point.wire_bytes,
        edge=point.head,
        fallback=point.tail,
        cloud_flops=point.tail.flops,
        accuracy=accuracy,
        interval=interval,
        fallback_accuracy=whole,
    )


def _measured(
    point: SplitPoint, agreement: float | None, table: AccuracyTable
) -> RouteOption | None:
    """A plain route with its row's accuracy; cuts of several tensors have none."""
    xi = 0.0 if point.is_output else 1.0
    row = next((r for r in table.rows if (r.split, r.xi, r.bits) == (point.name, xi, _BITS)), None)
    if row is not None:
        return _plain(point, row.accuracy, (row.low, row.high), table.whole_accuracy)
    if agreement is not None:
        return _plain(point, agreement * table.whole_accuracy, None, table.whole_accuracy)
    if point.is_input or point.is_output:
        raise AccuracyTableError(
            f"the accuracy table of {table.model} lacks {point.name!r}: run "
            "python -m partition.train_attention again"
        )
    return None


def _variant(point: SplitPoint, row: AccuracyRow, attention: Attention) -> RouteOption:
    is_told = row.bits != _BITS and row.sent_channels
    sent = f"/{quantisers.of_bits(row.bits).name}" if is_told else ""
    edge, fallback = point.head, point.tail
    name, whole = f"{row.split}{sent}", attention.table.whole_accuracy
    wire_bytes = point.request_bytes(row.bits)
    if row.xi < 1:
        cut = attention.cuts[row.split]
        edge, fallback = point.head + cut.scores + cut.branch, cut.branch
        name = f"{row.split}/xi{row.xi:g}{sent}"
        wire_bytes = row.wire_bytes
        whole = attention.table.lookup(row.split, 0.0, _BITS).accuracy
    return RouteOption(
        route=Route(point.index, row.xi, row.bits),
        name=name,
        wire_bytes=wire_bytes,
        edge=edge,
        fallback=fallback,
        cloud_flops=row.cloud_flops,
        accuracy=row.accuracy,
        interval=(row.low, row.high),
        fallback_accuracy=whole,
    )


def _is_plain(row: AccuracyRow, point: SplitPoint) -> bool:
    return point.is_output or (row.xi == 1 and row.bits == _BITS)


def _is_beaten(row: AccuracyRow, table: AccuracyTable) -> bool:
    """Whether another row takes no more of anything and is at least as accurate.

    On validation images: test images are for reporting.
    """
    if row.sent_channels == 0 and row.bits != _BITS:
        return True  # bits do not matter where nothing is sent
    mine = _demands(row)
    others = (_demands(other) for other in table.rows)
    return any(other != mine and all(map(float.__le__, other, mine)) for other in others)


def _demands(row: AccuracyRow) -> tuple[float, float, float]:
    return float(row.wire_bytes), float(row.edge_flops), -row.validation_accuracy
