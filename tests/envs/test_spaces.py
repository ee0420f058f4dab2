from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.errors import ActionError
from envs.plant import Axis, Layout, Readings
from envs.spaces import ActionDecoder, ObservationEncoder, ObservationField, observation_fields

AXES = (Axis("cpu", (1e9, 2e9, 3e9)), Axis("gpu", (1e8, 2e8)), Axis("route", (0.0, 1.0, 2.0, 3.0)))
LAYOUT = Layout("board", "f", "model", "c", AXES, max_power_w=15.0)
FIELDS = observation_fields(LAYOUT)
SIZES = [3, 2, 4]


def readings_at(pick):
    """Readings whose every value is `pick` of its field."""
    values = {f.name: np.array([float(pick(f))]) for f in FIELDS}
    clocks_hz = np.array([[values["cpu_hz"][0], values["gpu_hz"][0]]])
    named = {f.name: values.get(f.name) for f in fields(Readings)}
    return Readings(**{**named, "clocks_hz": clocks_hz})


def encode(readings):
    return ObservationEncoder(FIELDS).encode(readings)


def middle(f: ObservationField) -> float:
    return np.sqrt(f.low * f.high) if f.log else 0.5 * (f.low + f.high)


def test_bounds_map_to_minus_one_and_one_and_the_middle_to_zero():
    np.testing.assert_allclose(encode(readings_at(lambda f: f.low)), -1.0)
    np.testing.assert_allclose(encode(readings_at(lambda f: f.high)), 1.0)
    np.testing.assert_allclose(encode(readings_at(middle)), 0.0, atol=1e-6)


def test_values_outside_the_bounds_are_clipped():
    below = encode(readings_at(lambda f: 0.0 if f.log else f.low - 1.0))
    above = encode(readings_at(lambda f: 2.0 * f.high + 1.0))
    assert (below == -1.0).all()
    assert (above == 1.0).all()


def test_a_log_field_spreads_its_decades_evenly():
    rates_bps = [1e5, 1e6, 1e7, 1e8, 1e9]
    base = readings_at(middle)
    seen = [encode(replace(base, link_bps=np.array([r])))[0, 0] for r in rates_bps]
    np.testing.assert_allclose(seen, [-1.0, -0.5, 0.0, 0.5, 1.0], atol=1e-6)


def test_clocks_follow_in_the_order_of_the_axes():
    readings = replace(readings_at(middle), clocks_hz=np.array([[3e9, 0.0]]))
    np.testing.assert_allclose(encode(readings)[0, -2:], [1.0, -1.0])
    assert [f.name for f in FIELDS[-2:]] == ["cpu_hz", "gpu_hz"]


def test_observations_are_float32_rows_per_board():
    one = readings_at(middle)
    three = Readings(*(np.repeat(getattr(one, f.name), 3, axis=0) for f in fields(Readings)))
    observations = encode(three)
    assert observations.shape == (3, len(FIELDS))
    assert observations.dtype == np.float32
    assert observations.flags.c_contiguous


def test_decoding_undoes_encoding():
    for pick in (lambda f: f.low, lambda f: f.high, middle):
        readings = readings_at(pick)
        found = ObservationEncoder(FIELDS).decode(encode(readings))
        for f in fields(Readings):
            expected = getattr(readings, f.name)
            np.testing.assert_allclose(getattr(found, f.name), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rate_hz", "target_s"), [(0.1, 1e-3), (1e3, 100.0)])
def test_what_scenario_files_may_ask_for_is_not_clipped(rate_hz, target_s):
    asked = {"arrival_hz": np.array([rate_hz]), "latency_target_s": np.array([target_s])}
    found = ObservationEncoder(FIELDS).decode(encode(replace(readings_at(middle), **asked)))
    assert found.arrival_hz[0] == pytest.approx(rate_hz)
    assert found.latency_target_s[0] == pytest.approx(target_s)


def test_decoding_leaves_clipped_what_was_clipped():
    readings = replace(readings_at(middle), rtt_s=np.array([50.0]), backlog=np.array([-3.0]))
    found = ObservationEncoder(FIELDS).decode(encode(readings))
    assert found.rtt_s[0] == pytest.approx(1.0)
    assert found.backlog[0] == pytest.approx(0.0)


@given(st.data())
def test_box_actions_hit_the_bin_they_lie_in(data):
    bins = [data.draw(st.integers(0, size - 1)) for size in SIZES]
    inside = [data.draw(st.floats(0.01, 0.99)) for _ in SIZES]
    action = [2.0 * (k + u) / size - 1.0 for k, u, size in zip(bins, inside, SIZES, strict=True)]
    assert ActionDecoder(AXES).from_box(np.array([action])).tolist() == [bins]


@pytest.mark.parametrize(("value", "expected"), [(-1.0, [0, 0, 0]), (1.0, [2, 1, 3])])
def test_box_ends_and_what_lies_beyond_are_the_end_bins(value, expected):
    decoder = ActionDecoder(AXES)
    for factor in (1.0, 5.0):
        assert decoder.from_box(np.full((1, 3), factor * value)).tolist() == [expected]


def test_valid_indices_pass_unchanged():
    every = np.array([[i, j, k] for i in range(3) for j in range(2) for k in range(4)])
    np.testing.assert_array_equal(ActionDecoder(AXES).from_indices(every), every)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_box_actions_that_are_not_finite_are_refused(bad):
    with pytest.raises(ActionError, match="not finite"):
        ActionDecoder(AXES).from_box(np.array([[0.0, bad, 0.0]]))


@pytest.mark.parametrize("action", [[[3, 0, 0]], [[0, 2, 0]], [[0, 0, 4]], [[0, -1, 0]]])
def test_an_index_outside_its_axis_is_refused(action):
    with pytest.raises(ActionError, match=r"outside the axes' sizes \[3, 2, 4\]"):
        ActionDecoder(AXES).from_indices(np.array(action))


@pytest.mark.parametrize("shape", [(3,), (1, 2), (1, 4), (1, 1, 3)])
def test_actions_of_another_shape_are_refused(shape):
    decoder = ActionDecoder(AXES)
    with pytest.raises(ActionError, match="have shape"):
        decoder.from_indices(np.zeros(shape, dtype=np.int64))
    with pytest.raises(ActionError, match="have shape"):
        decoder.from_box(np.zeros(shape))


def test_indices_that_are_not_integers_are_refused():
    with pytest.raises(ActionError, match="float64"):
        ActionDecoder(AXES).from_indices(np.array([[0.0, np.nan, 1.5]]))
