"""What the parts of thinking while moving are worth."""

from __future__ import annotations

import numpy as np
import pytest

from agents.training.learn import TrainingResult
from benchmarks.policies import ablation
from benchmarks.policies.ablation import VARIANTS, WHOLE, page


def test_page_tells_each_variant_beside_the_whole():
    generator, least = np.random.default_rng(0), np.full(12, 1.0)
    found = {}
    for n, variant in enumerate(VARIANTS):
        cost = 1.02 + 0.1 * n + 0.001 * generator.random(12)
        rest = {key: np.full(12, 0.5) for key in ("energy_j", "latency_s", "deadline_hit_rate")}
        found[variant] = rest | {"cost": cost, "least": least}
    lines = [line for line in page(found, 3).splitlines() if line.startswith("| ")]
    whole, *others = lines[2:]
    assert whole.startswith("| nothing | 0.500 | 500.0 | 50.00 | 2.")
    assert [line.split(" | ")[0][2:] for line in others] == [v for v in VARIANTS if v != WHOLE]
    more = [float(line.split(" | ")[-1].split(" ")[0]) for line in others]
    assert more == pytest.approx([100 * 0.1 * n / 1.02 for n in range(1, len(VARIANTS))], abs=0.2)


def test_a_board_that_waits_is_simulated_as_such(swinging, monkeypatch):
    """Everything but the training itself."""
    worlds = []

    def untrained(name, world, seed):
        worlds.append((name, world.blocking, seed))
        return TrainingResult(None, None, 0)

    monkeypatch.setattr(ablation, "build_sim_config", lambda *_: swinging)
    monkeypatch.setattr(ablation, "train", untrained)
    monkeypatch.setattr(ablation, "simulated_decider", lambda *_: ablation.Oracle())
    for variant in VARIANTS:
        run = ablation.run_one(variant, 3)
        assert run["cost"].shape == run["least"].shape == (ablation.N_EPISODES,)
        if not VARIANTS[variant][1]:
            np.testing.assert_array_equal(run["cost"], run["least"])
    assert worlds == [(name, waits, 3) for name, waits in VARIANTS.values()]


@pytest.mark.parametrize("seeds", ["0", "-1", "x"])
def test_no_seeds_is_bad_input(seeds):
    with pytest.raises(SystemExit) as stopped:
        ablation.main(["--seeds", seeds])
    assert stopped.value.code == 2
