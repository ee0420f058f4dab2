"""Seam: the cut at which parts of a network that share weights are joined.

Every tail holds the weights from its cut to the output, so that the tails of seven split points
hold most weights seven times. What lies behind the seam is loaded once and used by all tails that
begin before it; each of them holds only what lies between its own cut and the seam.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from partition.model.split_point import SplitPoint

PART_BYTES = 700_000
"""What a part takes besides its weights: the graph, the run-time's tables."""
_WORTH_BYTES = 2_000_000
"""Less is not worth a seam."""
_SHARE_OF_REQUEST = 0.02
"""Of a request's time that a seam may take. One takes up to 2 % and saves 57 % of what all tails
hold; a second would save another 9 % and takes up to 3.7 % (results/server.md)."""
_TRANSPORT_S = 0.5e-3
_FLOPS_HZ = 80e9
"""What one core does a second; a request is expected to take transport and this, s."""
_CALL_S = 8e-6
_COPY_BPS = 1.6e9
"""A seam takes one more call, and its tensors are laid out anew on both of its sides."""


def choose_seam(cuts: Sequence[SplitPoint], split_points: Sequence[SplitPoint]) -> int | None:
    """Position among `cuts` where a seam saves most memory.

    None if that is less than `_WORTH_BYTES`, or if each would take more than `_SHARE_OF_REQUEST`.

    Args:
        cuts: all legal ones, by depth.
        split_points: where tails begin.
    """
    begins = {point.tensors for point in split_points[:-1]}
    starts = [i for i, cut in enumerate(cuts[:-1]) if cut.tensors in begins]
    request_s = _TRANSPORT_S + cuts[-1].head.flops / _FLOPS_HZ
    able = [
        i
        for i, cut in enumerate(cuts[1:-1], start=1)
        if _CALL_S + cut.float32_bytes / _COPY_BPS <= _SHARE_OF_REQUEST * request_s
    ]
    held = partial(_held_bytes, cuts, starts)
    best = min(able, key=held, default=None)
    return best if best is not None and held(best) <= held(None) - _WORTH_BYTES else None


def route(start: int, end: int, seam: int | None) -> tuple[tuple[int, int], ...]:
    """Parts on the way from one cut to another, each from its start to its end."""
    if start == end:
        return ()
    stops = (start, seam, end) if seam is not None and start < seam < end else (start, end)
    return tuple(pairwise(stops))


def part_bytes(cuts: Sequence[SplitPoint], part: tuple[int, int]) -> int:
    """Weights of a part."""
    start, end = part
    return cuts[end].head.param_bytes - cuts[start].head.param_bytes


def _held_bytes(cuts: Sequence[SplitPoint], starts: Sequence[int], seam: int | None) -> int:
    """What all tails together hold."""
    parts = {part for start in starts for part in route(start, len(cuts) - 1, seam)}
    return sum(part_bytes(cuts, part) + PART_BYTES for part in parts)
