"""What the pictures of evaluations and comparisons show."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from agents.errors import AgentError
from agents.evaluation import palette
from agents.evaluation.plots import Decisions, decisions_figure, evaluation_figure
from agents.evaluation.rows import ALL, EvaluationRow
from agents.evaluation.statistics import Interval
from benchmarks.policies import figures, table_file
from benchmarks.policies.table import TableRow
from benchmarks.policies.traces import HELD_OUT


def row(scenario: str, policy: str, cost: float, in_time: float = 0.9) -> EvaluationRow:
    return EvaluationRow(
        scenario=scenario,
        policy=policy,
        energy_j=cost,
        energy_j_low=0.9 * cost,
        energy_j_high=1.1 * cost,
        latency_s=0.1,
        latency_s_low=0.1,
        latency_s_high=0.1,
        p95_latency_s=0.2,
        deadline_hit_rate=in_time,
        deadline_hit_rate_low=in_time,
        deadline_hit_rate_high=in_time,
        accuracy=1.0,
        cost=cost,
        cost_low=0.9 * cost,
        cost_high=1.1 * cost,
        oracle_gap=0.1,
        gap_closed=0.5,
        gap_closed_low=0.4,
        gap_closed_high=0.6,
    )


def test_evaluation_shows_every_policy_of_every_scenario_within_its_axes():
    costs = {"mine": 1.1, "oracle": 1.0, "random": 30.0}
    rows = [row(name, p, c, 1.0) for name in ("a", "b", ALL) for p, c in costs.items()]
    figure = evaluation_figure(rows, "mine", "modelled")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [ALL, "a", "b"]
    for axes in figure.axes:
        low, high = axes.get_xlim()
        points = np.concatenate([line.get_xdata() for line in axes.lines])
        assert len(points) == len(rows)
        assert low < points.min() <= points.max() < high
    assert [text.get_text() for text in figure.legends[0].texts] == ["oracle", "mine", "random"]
    assert figure.axes[-1].get_xlim()[1] < 110


def test_no_two_policies_share_a_mark():
    rows = [row("a", name, 1.0 + k) for k, name in enumerate(("mine", "oracle", *"bcdefg"))]
    figure = evaluation_figure(rows, "mine", "")
    marks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines}
    assert len(marks) == len(rows)
    assert palette.OURS_MARK.colour not in {mark.colour for mark in palette.OTHER_MARKS}


def test_clocks_of_every_column_are_within_the_picture():
    link = np.full(100, 1e6)
    slow, fast = (
        Decisions(link, np.full((100, 1), hz), np.zeros(100, np.int64)) for hz in (1e8, 2e9)
    )
    figure = decisions_figure([("slow", slow), ("fast", fast)], ["cpu"], ["input", "output"])
    assert all(axes.get_ylim()[1] > 2.0 for axes in figure.axes[:2])


def flat(decider: str, gap: float, kind: str = "learned", scenario: str = ALL) -> TableRow:
    at = Interval(1.0, 0.9, 1.1)
    gaps = Interval(gap, gap - 0.01, gap + 0.01)
    return TableRow(
        "tx2", "net", scenario, decider, kind, at, at, 0.25, at, at, at, gaps, gaps, n_seeds=3
    )


def test_table_of_a_comparison_is_read_as_it_was_written(tmp_path):
    table = [flat("advised", 0.125), flat("oracle", 0.0, "privileged")]
    table_file.write_rows(tmp_path / "benchmark.csv", table)
    assert table_file.read_rows(tmp_path / "benchmark.csv") == table


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\x00", "device,model\ntx2\n"])
def test_another_file_than_a_table_is_one_sentence(tmp_path, text, capsys):
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(AgentError, match=r"benchmark\.csv"):
        table_file.read_rows(path)
    assert figures.main(["--table", str(path), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_gaps_of_all_sizes_are_drawn_where_they_are():
    rows = [flat(name, gap) for name, gap in (("a", 0.0), ("b", 0.007), ("c", 0.4), ("d", 8.6))]
    axes = figures._gap_figure(rows, "").axes[0]
    assert sorted(line.get_xdata()[0] for line in axes.lines) == pytest.approx(
        [0.0, 0.7, 40.0, 860.0]
    )
    low, high = axes.get_xlim()
    assert low < 0.0
    assert high > 860.0


def test_lines_to_names_do_not_cross():
    rng = np.random.default_rng(0)
    points = {str(i): tuple(rng.uniform(size=2)) for i in range(12)}
    heights = np.linspace(-0.2, 1.2, len(points))
    order = figures._uncrossed(points, 1.2, heights)
    assert sorted(order) == sorted(points)
    ends = dict(zip(order, heights, strict=True))

    def at(name: str, x: float) -> float:
        return float(np.interp(x, [points[name][0], 1.2], [points[name][1], ends[name]]))

    for below, above in pairwise(order):
        x = max(points[below][0], points[above][0])
        assert at(below, x) <= at(above, x)


def test_single_recordings_are_drawn_as_their_mean():
    names = ("a", "b", "starlink-4@a", "starlink-6@a", ALL, HELD_OUT)
    rows = [flat(decider, 0.1, scenario=name) for name in names for decider in ("x", "oracle")]
    axes = figures._scenario_figure(rows, "").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", HELD_OUT]
