"""Placements within a period by beam search, led by the prices of devices.

Of the partial placements that end at a cut, those are kept that have paid least for their devices
and have the least to pay for the rest: devices that many stages compete for are dear, so they are
spent where nothing else will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from partition.placement.cluster import Floats
from partition.placement.problem import Bools, Ints
from partition.placement.threshold import Step, Threshold


@dataclass(frozen=True, slots=True)
class _Partials:
    """W partial placements that end at one cut."""

    taken: Ints
    """(W, classes)."""
    choice: Ints
    """(W,) of the last stage."""
    paid: Floats
    start: Ints
    """(W,) first cut of the last stage."""
    parent: Ints
    """(W,) row at that cut; -1 for none."""


def search(
    threshold: Threshold,
    prices: Floats,
    after: Floats,
    width: int,
    in_time: Callable[[], bool] = lambda: True,
) -> tuple[Step, ...]:
    """A placement within the period, or of as many of the first blocks as the beam got to.

    Args:
        threshold: the period.
        prices: (classes,) of a device.
        after: (L + 1, C), what `price_to_go` returned for these prices.
        width: partial placements that are kept per cut.
        in_time: whether to go on.
    """
    choices = threshold.choices
    last = threshold.n_blocks
    price = choices.uses @ prices
    waiting: list[list[_Partials]] = [[] for _ in range(last + 1)]
    kept: list[_Partials | None] = [None] * (last + 1)
    for cut in range(last):
        if not in_time():
            break
        if cut == 0:
            partials = None
            open_ = threshold.starts[None, :]
        else:
            partials = kept[cut] = _keep(waiting[cut], after[cut], width)
            waiting[cut] = []
            if partials is None:
                continue
            open_ = threshold.links[cut][partials.choice] & _room(
                choices.uses, choices.counts, partials
            )
        _extend(threshold, cut, partials, open_, price, after, waiting, width)
    kept[last] = _keep(waiting[last], after[last], 1)
    furthest = max((cut for cut, partials in enumerate(kept) if partials is not None), default=0)
    return _trace(kept, furthest)


def _room(uses: Ints, counts: Ints, partials: _Partials) -> Bools:
    """(W, C): which choices a partial placement has devices left for."""
    free = counts - partials.taken
    if (uses.sum(axis=1) == 1).all():
        return np.asarray(free[:, uses.argmax(axis=1)] > 0)
    return np.asarray((free[:, None, :] >= uses[None]).all(axis=2))


def _extend(
    threshold: Threshold,
    cut: int,
    partials: _Partials | None,
    open_: Bools,
    price: Floats,
    after: Floats,
    waiting: list[list[_Partials]],
    width: int,
) -> None:
    """Put the next stage behind each partial placement, to wherever it may end."""
    uses = threshold.choices.uses
    paid = np.zeros(1) if partials is None else partials.paid
    paid = np.where(open_, paid[:, None] + price[None, :], np.inf)
    ends = threshold.ends(cut) & np.isfinite(after.T)
    for end in np.flatnonzero(ends.any(axis=0)):
        able = np.flatnonzero(ends[:, end])
        score = (paid[:, able] + after[end, able]).ravel()
        best = (
            np.argpartition(score, width)[:width] if len(score) > width else np.arange(len(score))
        )
        best = best[np.isfinite(score[best])]
        if not len(best):
            continue
        parent, nth = np.divmod(best, len(able))
        choice = able[nth]
        before = 0 if partials is None else partials.taken[parent]
        waiting[end].append(
            _Partials(
                before + uses[choice],
                choice,
                paid[parent, choice],
                np.full(len(best), cut),
                parent if partials is not None else np.full(len(best), -1),
            )
        )


def _keep(waiting: list[_Partials], after: Floats, width: int) -> _Partials | None:
    """The best of those that reached a cut, each set of devices and last choice once."""
    if not waiting:
        return None
    parts = [np.concatenate([getattr(p, name) for p in waiting]) for name in _Partials.__slots__]
    everyone = _Partials(*parts)
    order = np.argsort(everyone.paid + after[everyone.choice], kind="stable")[: 4 * width]
    # Two that are told apart by nothing are alike but for one case in 2^64, which only loses one.
    rows = everyone.taken[order] @ _codes(everyone.taken.shape[1]) + everyone.choice[order]
    _, first = np.unique(rows, return_index=True)
    order = order[np.sort(first)[:width]]
    return _Partials(*(part[order] for part in parts))


@cache
def _codes(n: int) -> Ints:
    """Random numbers by which sets of devices are told apart."""
    return np.random.default_rng(0).integers(1 << 63, size=n) << 12


def _trace(kept: list[_Partials | None], cut: int) -> tuple[Step, ...]:
    steps: list[Step] = []
    row = 0
    while cut > 0:
        partials = kept[cut]
        assert partials is not None
        start = int(partials.start[row])
        steps.append((int(partials.choice[row]), start, cut))
        row, cut = int(partials.parent[row]), start
    return tuple(reversed(steps))
