"""What no change of the code's shape may move, as far as it is computed in a moment."""

from __future__ import annotations

import json

import pytest

from benchmarks.pinned.__main__ import STORED
from benchmarks.pinned.differences import differences
from benchmarks.pinned.placements import small_placements
from benchmarks.pinned.wire import messages, tensors

ANOTHER_PROCESSOR = 1e-9
"""Random instances are drawn by logarithms, whose last digit is the processor's."""


@pytest.fixture(scope="module")
def stored():
    return json.loads(STORED.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("section", "compute"), [("tensors", tensors), ("messages", messages)])
def test_bytes_on_the_wire_are_those_stored(stored, section, compute):
    assert list(differences(stored[section], compute())) == []


def test_placements_are_those_stored(stored):
    today = small_placements()
    assert list(differences(stored["small placements"], today, ANOTHER_PROCESSOR)) == []


def test_each_difference_is_a_line_with_both_values():
    stored = {"a": {"x": 1.0, "y": [1, 2]}, "b": "old", "c": float("nan")}
    today = {"a": {"x": 1.0 + 1e-15, "y": [1, 3]}, "c": float("nan"), "d": 4}
    assert list(differences(stored, today)) == [
        "a: x: was 1.0, is 1.000000000000001",
        "a: y[1]: was 2, is 3",
        "b: gone, was 'old'",
        "d: new, 4",
    ]
    assert list(differences({"x": 1.0}, {"x": 1.0 + 1e-15}, 1e-9)) == []


def test_a_whole_number_is_no_float_and_a_shorter_list_differs():
    assert list(differences({"x": 1, "y": [1]}, {"x": 1.0, "y": []})) == [
        "x: was 1, is 1.0",
        "y: was [1], is []",
    ]
