"""How soon deciders get used to boards unlike the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agents.registry import UNLEARNED
from benchmarks.policies import adaptation
from benchmarks.policies.adaptation import AS_BELIEVED, EDGES, UNKNOWN, UNLIKE_BELIEVED, gaps


@pytest.fixture(scope="module")
def worlds(swinging):
    long = replace(swinging, n_steps=160)
    return {AS_BELIEVED: long, UNLIKE_BELIEVED: replace(long, randomisation=UNKNOWN)}


def test_gaps_are_above_the_oracle_in_every_stretch(worlds):
    world = worlds[AS_BELIEVED]
    names = ("oracle", "model-search", "max-edge")
    found = gaps(worlds, {name: UNLEARNED.fit(name, world, 0).decider for name in names}, 2)
    assert len(found) == len(worlds) * len(names)
    for (_, name), curve in found.items():
        assert curve.shape == (len(EDGES),)
        assert (curve == 0.0).all() if name == "oracle" else np.isfinite(curve).all()
    assert found[UNLIKE_BELIEVED, "max-edge"].mean() > found[UNLIKE_BELIEVED, "model-search"].mean()


def test_model_search_gets_used_to_a_board(worlds):
    """Its factors are measured while it serves: the first requests cost more than later ones."""
    decider = UNLEARNED.fit("model-search", worlds[AS_BELIEVED], 0).decider
    curve = gaps(worlds, {"model-search": decider}, 16)[UNLIKE_BELIEVED, "model-search"]
    assert curve[-3:].mean() < curve[0]


def test_page_and_picture(worlds, tmp_path, monkeypatch):
    monkeypatch.setattr(adaptation, "open_or_prepare", lambda _: None)
    monkeypatch.setattr(adaptation, "build_sim_config", lambda *_: worlds[AS_BELIEVED])
    monkeypatch.setattr(adaptation, "OURS", "max-edge")
    monkeypatch.setattr(adaptation, "N_EPISODES", 1)
    assert adaptation.main(["--out", str(tmp_path)]) == 0
    page = (tmp_path / "adaptation.md").read_text(encoding="utf-8")
    assert all(f"| {name} | {UNLIKE_BELIEVED} |" in page for name in ("max-edge", "best-static"))
    assert (tmp_path / "adaptation.png").stat().st_size > 10_000
