from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.pieces import _sums, measure
from partition.model.cost import Cost
from partition.model.split_point import SplitPoint

N_PIECES = 8
PER_KERNEL_S, PER_FLOP_S, PER_BYTE_S = 2e-5, 1e-10, 2e-10


@pytest.fixture
def cuts() -> list[SplitPoint]:
    """Cuts of a network whose pieces differ; sizes are made up."""
    draw = np.random.default_rng(0)
    point = SplitPoint(0, "cut0", ("t0",), ((1, 8),), ("float32",), Cost(), Cost(), 0, True, False)
    points, head = [point], Cost()
    for index in range(1, N_PIECES + 1):
        flops, traffic = (int(n) for n in draw.integers(10**5, 10**7, 2))
        head = head + Cost(flops, 0, traffic, 1 + index % 3)
        name = f"t{index}"
        points.append(
            replace(point, index=index, name=name, tensors=(name,), head=head, is_input=False)
        )
    return points


def times_s(cuts):
    works = [b.head - a.head for a, b in pairwise(cuts)]
    return np.array(
        [
            PER_KERNEL_S * w.kernels + PER_FLOP_S * w.flops + PER_BYTE_S * w.traffic_bytes
            for w in works
        ]
    )


def test_pieces_of_one_form_add_up(cuts):
    piece_s = times_s(cuts)
    head_s = [float(piece_s[:end].sum()) for end in range(1, N_PIECES)]
    found = _sums(1, float(piece_s.sum()), piece_s, head_s, cuts, cuts[1:-1])
    assert found.pieces == pytest.approx(1.0)
    assert found.heads == pytest.approx((1.0,) * len(head_s))
    assert found.head_form == pytest.approx(0.0, abs=1e-6)
    assert found.form == pytest.approx(0.0, abs=1e-6)
    assert found.form_whole == pytest.approx(1.0)
    assert found.form_heads == pytest.approx((1.0,) * len(head_s))


def test_a_piece_that_costs_by_itself_shows_in_the_sums(cuts):
    piece_s = times_s(cuts)
    whole_s = float(piece_s.sum())
    found = _sums(2, whole_s, 1.5 * piece_s, times_s(cuts).cumsum()[:-1], cuts, cuts[1:-1])
    assert found.pieces == pytest.approx(1.5)
    assert found.heads == pytest.approx((1.5,) * (N_PIECES - 1))


def test_a_network_is_measured(tiny):
    found = measure(tiny, threads=1, rounds=2)
    assert found.whole_s > 0.0
    assert len(found.heads) == len(tiny.cuts) - 2
