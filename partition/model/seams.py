"""Seams: cuts at which parts of a network that share weights are joined.

Every tail holds the weights from its cut to the output, so that the tails of seven split points
hold most weights seven times. What lies behind a seam is loaded once and used by all tails that
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
"""Of a request's time that a seam may take, as far as can be foreseen. With a tiny one 0.3 to 3.3 %
of the computing time were measured, with a second one of any size 3.7 % (results/server.md)."""
_TINY_BYTES = 16_384
"""A second seam has to be as small as what a network hands on at its end: that costs a call, which
cannot be told from noise."""
_TRANSPORT_S = 0.5e-3
_FLOPS_HZ = 80e9
"""What one core does a second; a request is expected to take transport and this, s."""
_CALL_S = 8e-6
_COPY_BPS = 1.6e9
"""A seam takes one more call, and its tensors are laid out anew on both of its sides."""


def choose_seams(cuts: Sequence[SplitPoint], split_points: Sequence[SplitPoint]) -> tuple[int, ...]:
    """Positions among `cuts`, ascending: the one that saves most memory, and a tiny one.

    None is chosen that saves less than `_WORTH_BYTES` or takes more than `_SHARE_OF_REQUEST`.

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
    tiny = [i for i in able if cuts[i].float32_bytes <= _TINY_BYTES]
    held = partial(_held_bytes, cuts, starts)
    chosen: tuple[int, ...] = ()
    for candidates in (able, tiny):
        options = [tuple(sorted({*chosen, i})) for i in candidates]
        best = min(options, key=held, default=chosen)
        if held(best) <= held(chosen) - _WORTH_BYTES:
            chosen = best
    return chosen


def route(start: int, end: int, seams: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Parts on the way from one cut to another, each from its start to its end."""
    stops = [start, *(seam for seam in seams if start < seam < end), end]
    return tuple(pairwise(stops)) if start < end else ()


def part_bytes(cuts: Sequence[SplitPoint], part: tuple[int, int]) -> int:
    """Weights of a part."""
    start, end = part
    return cuts[end].head.param_bytes - cuts[start].head.param_bytes


def _held_bytes(cuts: Sequence[SplitPoint], starts: Sequence[int], seams: Sequence[int]) -> int:
    """What all tails together hold."""
    parts = {part for start in starts for part in route(start, len(cuts) - 1, seams)}
    return sum(part_bytes(cuts, part) + PART_BYTES for part in parts)
