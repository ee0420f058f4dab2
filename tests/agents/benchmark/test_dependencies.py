"""What rows of the comparison rest on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.training.all_deciders import DECIDERS
from benchmarks.policies import dependencies
from benchmarks.policies.compared import COMPARED, GOVERNOR_BAND
from benchmarks.policies.dependencies import reached, version
from benchmarks.policies.plan import BenchmarkJob
from envs.sim import build

JOB = BenchmarkJob(
    device="tx2",
    model="efficientnet-lite0",
    scenarios=("steady-wifi",),
    decider="max-edge",
    fit_seed=0,
    episode_seeds=(0,),
    n_episodes=1,
)


def files(decider):
    roots = (*dependencies.JUDGING, *dependencies._modules(decider))
    return {path.relative_to(dependencies.ROOT).as_posix() for path in reached(roots)}


@pytest.mark.parametrize(
    ("decider", "own", "others"),
    [
        ("neurosurgeon", "baselines/neurosurgeon.py", "baselines/bayes.py"),
        ("max-neurosurgeon", "baselines/neurosurgeon.py", "learners/dqn.py"),
        ("bayes-15", "baselines/bayes.py", "baselines/closed_form.py"),
        ("best-static", "baselines/best_static.py", "advised/policy.py"),
        ("oracle", "deciders/oracle.py", "baselines/best_static.py"),
        ("advised", "advised/full_information.py", "learners/branching.py"),
        ("dvfo", "learners/branching.py", "learners/sac_discrete.py"),
        ("ppo", "learners/fast_ppo.py", "learners/dqn.py"),
        ("governor-ondemand", "deciders/under_governors.py", "baselines/bayes.py"),
    ],
)
def test_a_row_rests_on_its_own_code_and_on_nobody_else_s(decider, own, others):
    found = files(decider)
    assert f"agents/{own}" in found
    assert f"agents/{others}" not in found
    assert {"envs/sim/response.py", "envs/objective.py", "hw/device/latency.py"} <= found


@pytest.mark.parametrize("decider", [*DECIDERS.names(), *GOVERNOR_BAND])
def test_everybody_says_where_the_code_is(decider):
    assert dependencies._modules(decider)
    assert COMPARED.entry(decider).kind
    for name in dependencies._modules(decider):
        assert dependencies._file(name) is not None


def changed_rate(first):
    """Whether a slightly slower link of a scenario of the same name makes another version."""
    with pytest.MonkeyPatch.context() as patch:
        load = build.load_scenarios

        def slower(names):
            (scenario,) = load(names)
            signal = scenario.signals["link_bps"]
            slow = replace(signal, quantiles=tuple(0.99 * q for q in signal.quantiles))
            return (replace(scenario, signals={**scenario.signals, "link_bps": slow}),)

        patch.setattr(build, "load_scenarios", slower)
        return version(JOB, ()) != first


def test_what_matters_changes_the_version_and_the_rest_does_not(monkeypatch):
    first = version(JOB, ())
    assert version(JOB, ()) == first
    others = [
        replace(JOB, device="nano"),
        replace(JOB, scenarios=("lte-driving",)),
        replace(JOB, decider="max-cloud"),
    ]
    # Both are the same rule: their own settings tell them apart.
    assert [version(job, ()) == first for job in others] == [False, False, True]
    assert changed_rate(first)
    kept = Path.read_bytes

    def changed(name):
        monkeypatch.setattr(
            Path, "read_bytes", lambda path: kept(path) + b"#" * (path.name == name)
        )
        return version(JOB, ())

    assert changed("response.py") != first
    assert changed("neurosurgeon.py") == first
