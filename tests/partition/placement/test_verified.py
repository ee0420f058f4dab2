"""Plans of small cluster files against every placement: a part of what `verify` does at length."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.partition.placement.small_clusters import MODES
from tests.partition.placement.verify import judged

CHUNK = 180


@pytest.mark.parametrize("chunk", range(4))
def test_nothing_false_is_said(chunk):
    outcomes = Counter()
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        verdict = judged(seed)
        assert not verdict.faults, seed
        outcomes[verdict.outcome] += 1
    assert outcomes["refused file"] > 10
    for mode in MODES:
        assert outcomes[f"{mode}: proved"] > 10
        assert outcomes[f"{mode}: infeasible"] > 0
