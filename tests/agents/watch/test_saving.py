"""What a page says about the last comparison on the board."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from agents.watch.saving import last_saving

LAYOUT = SimpleNamespace(board="tx2", model="network")
RESULT = {
    "answer": "the policy saves 7.1 % (5.9 to 8.3) of energy per request",
    "policy": "policy",
    "against": "governor",
    "board": "tx2",
    "board_is_modelled": True,
    "model": "network",
    "scenario": "steady-wifi",
    "is_shown": True,
    "energy_saving": {"value": 0.071, "low": 0.059, "high": 0.083},
    "rounds": 12,
}


def left(run, name, text=None, **changes):
    folder = run / f"against-{name}"
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps({**RESULT, **changes}) if text is None else text)


def value(run):
    found = last_saving(run, LAYOUT, is_modelled=True)
    return None if found is None else found["energy_saving"]["value"]


def saving(x):
    return {"energy_saving": {"value": x, "low": None, "high": None}}


def test_nothing_was_measured(tmp_path):
    assert last_saving(tmp_path, LAYOUT, is_modelled=True) is None
    (tmp_path / "against-governor-20261101T000000").mkdir()  # it was cut
    assert last_saving(tmp_path, LAYOUT, is_modelled=True) is None


def test_the_newest_is_shown_with_its_interval(tmp_path):
    left(tmp_path, "governor-20261102T000000")
    left(tmp_path, "governor-20261101T000000", **saving(0.5))
    found = last_saving(tmp_path, LAYOUT, is_modelled=True)
    assert found["energy_saving"] == {"value": 0.071, "low": 0.059, "high": 0.083}
    assert found["measured"] == "20261102T000000"
    assert found["board_is_modelled"]
    assert "rounds" not in found


def test_one_with_the_governors_counts_before_any_other(tmp_path):
    left(tmp_path, "governor-20261101T000000", **saving(0.3))
    left(tmp_path, "best-static-20261105T000000", against="best-static", **saving(0.02))
    assert value(tmp_path) == 0.3


def test_another_one_is_better_than_none(tmp_path):
    left(tmp_path, "best-static-20261105T000000", against="best-static", **saving(0.02))
    assert value(tmp_path) == 0.02


@pytest.mark.parametrize(
    "changes", [{"board": "nano"}, {"model": "other"}, {"board_is_modelled": False}]
)
def test_another_board_or_network_does_not_count(tmp_path, changes):
    left(tmp_path, "governor-20261101T000000", **changes)
    assert last_saving(tmp_path, LAYOUT, is_modelled=True) is None


def test_one_that_found_nothing_does_not_count(tmp_path):
    left(tmp_path, "governor-20261101T000000", energy_saving=None)
    left(tmp_path, "governor-20261102T000000", **saving(None))
    assert last_saving(tmp_path, LAYOUT, is_modelled=True) is None


def test_a_file_that_is_a_folder_ends_nothing(tmp_path, caplog):
    (tmp_path / "against-governor-20261101T000000" / "result.json").mkdir(parents=True)
    assert last_saving(tmp_path, LAYOUT, is_modelled=True) is None
    assert "is not shown" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", '{"against": 3}', 5000 * "[", '{"energy_saving": NaN}'])
def test_one_that_is_damaged_is_said_and_left_out(tmp_path, text, caplog):
    left(tmp_path, "governor-20261101T000000", **saving(0.3))
    left(tmp_path, "governor-20261103T000000", text)
    assert value(tmp_path) == 0.3
    assert "20261103T000000" in caplog.text
