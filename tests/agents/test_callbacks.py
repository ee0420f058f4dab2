from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HumanOutputFormat, Logger

from agents.deciders.static import Random
from agents.learning.agent_decider import AgentDecider
from agents.training.algorithms import ALGORITHMS
from agents.training.callbacks import EntropyDecay, TrainingReport
from agents.training.validation import Validation
from envs.vec_env import EdgeSplitVecEnv

N_BOARDS, N_STEPS = 4, 10


@pytest.fixture
def agent(small_world) -> PPO:
    env = EdgeSplitVecEnv(small_world, N_BOARDS)
    return PPO("MlpPolicy", env, n_steps=N_STEPS, batch_size=40, n_epochs=1, ent_coef=7.0, seed=0)


def test_entropy_bonus_falls_linearly_to_zero(agent):
    used = []

    class Watch(BaseCallback):
        def _on_rollout_end(self) -> None:
            used.append(self.model.ent_coef)

        def _on_step(self) -> bool:
            return True

    agent.learn(4 * N_BOARDS * N_STEPS, callback=[EntropyDecay(0.08), Watch()])
    assert used == pytest.approx([0.08, 0.06, 0.04, 0.02])


def test_entropy_bonus_is_never_negative(agent):
    decay = EntropyDecay(0.08)
    decay.init_callback(agent)
    agent._total_timesteps, decay.num_timesteps = 100, 120
    decay.on_rollout_start()
    assert agent.ent_coef == 0.0


def test_entropy_decay_refuses_an_agent_without_a_constant_bonus():
    decay = EntropyDecay(0.1)
    decay.model = SAC.__new__(SAC)
    with pytest.raises(TypeError, match="SAC"):
        decay.on_rollout_start()


def test_only_ppo_has_its_bonus_lowered():
    assert ALGORITHMS["ppo"].ent_coef > 0.0
    assert ALGORITHMS["sac"].ent_coef is None


def test_agent_decides_without_exploring(untrained, policy):
    decider = AgentDecider(*untrained)
    shape = (200, len(policy.metadata.fields))
    observations = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    decided = decider.decide(observations)
    np.testing.assert_array_equal(decided, decider.decide(observations))
    assert (decided == policy.decide(observations)).all(axis=1).mean() > 0.98


class Record(HumanOutputFormat):
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.dumps: list[dict[str, object]] = []

    def write(self, key_values, key_excluded, step=0) -> None:
        self.dumps.append(dict(key_values))

    def close(self) -> None:
        pass


def test_report_logs_means_of_the_boards_over_a_rollout(agent, small_world):
    record, seen = Record(), []
    agent.set_logger(Logger(None, [record]))
    env = agent.env

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            seen.append(env.last_outcome)
            seen_terms.append({k: v.copy() for k, v in env.last_terms.items()})
            seen_hz.append(env.fleet.readings().clocks_hz)
            return True

    seen_terms, seen_hz = [], []
    total = 2 * N_BOARDS * N_STEPS
    validation = Validation(small_world, lambda _: Random(0))
    agent.learn(total, callback=[validation, TrainingReport(env, validation), Watch()])
    logged = {tag: value for dump in record.dumps for tag, value in dump.items()}
    last = slice(-N_STEPS, None)
    assert logged["board/power_w"] == pytest.approx(np.mean([o.power_w for o in seen[last]]))
    assert logged["board/latency_s"] == pytest.approx(np.mean([o.latency_s for o in seen[last]]))
    assert logged["board/deadline_hit_rate"] == pytest.approx(
        np.mean([o.deadline_hit_rate for o in seen[last]])
    )
    assert logged["board/accuracy"] == "unknown"
    assert logged["reward/accuracy"] == 0.0
    clocks_hz = np.mean(seen_hz[last], axis=(0, 1))
    for k, domain in enumerate(("cpu", "gpu", "emc")):
        assert logged[f"clocks/{domain}_hz"] == pytest.approx(clocks_hz[k])
    for name in ("energy", "time", "deadline", "accuracy", "switching", "thermal"):
        mean = np.mean([np.mean(terms[name]) for terms in seen_terms[last]])
        assert logged[f"reward/{name}"] == pytest.approx(-mean)
    assert 0.0 <= logged["split/point"] <= 4.0
    gap = logged["validation/cost"] / logged["validation/oracle_cost"] - 1.0
    assert logged["validation/oracle_gap"] == pytest.approx(gap)
    assert gap > 0.0
