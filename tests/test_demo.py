from __future__ import annotations

import os
from collections import Counter
from types import SimpleNamespace

import pytest

import demo
from agents.deployed.summary import live_line
from agents.errors import RunFolderError
from envs.live.supervisor import ClockInForce, StepPower
from tests.runs import constant_policy, write_run


@pytest.fixture
def runs(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "RUNS_DIR", tmp_path)
    return tmp_path


def test_newest_finished_run_is_shown(runs, small_world):
    policy = constant_policy(small_world.layout, (0, 0, 0, 0))
    for number, name in enumerate(("b", "a")):
        run = write_run(runs / name, policy, "tx2", "tiny-cnn")
        os.utime(run / "policy" / "policy.json", (number, number))
    (runs / "unfinished").mkdir()
    assert demo.newest_run() == runs / "a"


def test_no_finished_run_is_said(runs, capsys):
    with pytest.raises(RunFolderError, match="make train first"):
        demo.newest_run()
    assert demo.main([]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no finished run")
    assert error.count("\n") == 1


def test_demo_reads_the_cut_from_the_line_that_deploy_prints():
    class Plant:
        dry_run, link = False, SimpleNamespace(rate_bps=5e6)
        last_power = StepPower(5.0, 0.25, is_measured=True, uncertainty_w=0.1)
        energy_uncertainty_j = 0.01
        clocks_in_force = (ClockInForce("cpu", 1_000_000_000, 345_600_000, "the thermal guard"),)

        def route_name(self, index):
            return f"block{index}"

    outcome = {"power_w": 5.0, "energy_j": 0.5, "latency_s": 0.02, "deadline_hit_rate": 1.0}
    line = live_line(Plant(), {"outcome": outcome | {"fell_back": 0.0}, "route": 3})
    assert "set cpu 0.35 (asked 1.00: the thermal guard) GHz" in line
    assert "|  5.00 W, 0.500 +- 0.010 J per request |" in line
    match = demo._LINE.match(f"{12.3:6.1f} s  {line}")
    assert (match["second"], demo._cut(match)) == ("12.3", "block3")
    for here, cut in ((0.25, "block3"), (0.75, demo.HERE)):
        line = live_line(Plant(), {"outcome": outcome | {"fell_back": here}, "route": 3})
        assert f"| cut block3 ({100 * here:.0f} % finished here) |" in line
        assert demo._cut(demo._LINE.match(f"{12.3:6.1f} s  {line}")) == cut


def test_demo_says_how_many_requests_were_late():
    summary = {"requests": 216, "dropped": 4, "deadline_hit_rate": 209 / 220}
    late = "11 of 220 requests late (5.0%), the link's change included"
    assert demo._late(summary) == late
    assert demo._late({"requests": 0, "dropped": 2, "deadline_hit_rate": 0.0}).startswith("2 of 2")


@pytest.mark.parametrize(
    ("slow", "code"), [(Counter(a=1, b=9), 0), (Counter(a=9, b=1), 1), (Counter(), 1)]
)
def test_demo_succeeds_only_if_the_cut_moves(slow, code):
    assert demo._verdict((Counter(a=9, b=1), slow)) == code
