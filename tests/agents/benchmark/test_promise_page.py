"""The page of a promised share of requests in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.advised.untrained import fit
from agents.evaluation.plots import save
from benchmarks.policies import promise
from benchmarks.policies.adaptation import AS_BELIEVED, UNKNOWN, UNLIKE_BELIEVED
from benchmarks.policies.promise import FREE, SAFEST, SHARES, believing, follow, kept, promising


@pytest.fixture(scope="module")
def found(swinging):
    parameters = fit(swinging, 0).parameters
    kinds = {AS_BELIEVED: swinging, UNLIKE_BELIEVED: replace(swinging, randomisation=UNKNOWN)}
    return {kind: follow(world, parameters, 3) for kind, world in kinds.items()}


def test_all_run_on_the_same_episodes(found):
    names = {FREE, SAFEST, *map(promising, SHARES), *map(believing, SHARES)}
    for runs in found.values():
        assert runs.keys() == names
        assert {len(run.cost) for run in runs.values()} == {3}
        assert runs[SAFEST].energy_j.mean() > runs[FREE].energy_j.mean()
        n_kept, n_possible = kept(runs, promising(0.9), 0.9)
        assert 0 < n_possible <= 3
        assert n_kept == n_possible


def test_page_and_picture(found, tmp_path):
    page = promise._page(found, 1.0)
    assert f"| {promising(SHARES[0])} |" in page
    assert f"## Boards {UNLIKE_BELIEVED}" in page
    save(promise._figure(found), tmp_path / "promise.png")
    assert (tmp_path / "promise.png").stat().st_size > 10_000
