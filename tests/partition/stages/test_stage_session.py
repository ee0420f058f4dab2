"""Openings and signals: what packs unpacks, and nothing else does."""

from __future__ import annotations

import json

import numpy as np
import pytest
from msgspec import to_builtins
from msgspec.structs import replace

from partition.stages.errors import StageError
from partition.stages.frame_sender import FrameTimes
from partition.stages.session import SignalKind, StageSession, StageSpec, pack_signal, unpack_signal

SESSION = StageSession(
    number=7,
    fingerprint="0123456789abcdef",
    codec="int8",
    queue_depth=2,
    hops=(StageSpec(("10.0.0.1:5",), 0, 3), StageSpec(("10.0.0.2:6", "10.0.0.4:8"), 3, 9)),
    sink="10.0.0.3:7",
)


def test_an_opening_comes_back_and_points_on():
    assert StageSession.unpack(SESSION.pack()) == SESSION
    assert SESSION.addresses == ("10.0.0.1:5",)
    second = SESSION.behind()
    assert (second.addresses, second.n_senders) == (("10.0.0.2:6", "10.0.0.4:8"), 1)
    results = second.behind()
    assert (results.addresses, results.n_senders) == (("10.0.0.3:7",), 2)
    assert StageSession.unpack(results.pack()) == results


@pytest.mark.parametrize(("queue_depth", "n_senders", "window"), [(1, 1, 2), (3, 2, 2), (1, 3, 1)])
def test_several_senders_share_the_memory_of_one(queue_depth, n_senders, window):
    assert replace(SESSION, queue_depth=queue_depth, n_senders=n_senders).window == window


def test_a_line_holds_what_is_computed_and_what_waits():
    # 3 wait for the first stage and 2 * 3 for the second, 2 * 1 for the results; 3 are computed
    assert SESSION.capacity == 3 + 2 * 3 + 2 * 1 + 3


@pytest.mark.parametrize(
    "change",
    [
        {"number": -1},
        {"number": True},
        {"codec": "zip"},
        {"sink": "nowhere"},
        {"hops": [{"addresses": ["10.0.0.1:5"], "start": 3, "end": 3}]},
        {"hops": [{"addresses": ["10.0.0.1:5"], "start": 0, "end": 1, "more": 1}]},
        {"hops": [{"addresses": [], "start": 0, "end": 1}]},
        {"hops": [{"addresses": "10.0.0.1:5", "start": 0, "end": 1}]},
        {"hops": [{"addresses": ["10.0.0.1:5"] * 1024, "start": 0, "end": 1}]},
        {"n_senders": 0},
        {"n_senders": 1.0},
        {"hops": [7]},
        {"queue_depth": 1.5},
        {"extra": 1},
    ],
)
def test_another_opening_is_refused(change):
    message = json.dumps(to_builtins(SESSION) | change).encode()
    with pytest.raises(StageError):
        StageSession.unpack(message)


@pytest.mark.parametrize("message", [b"", b"\xff", b"[]", b"{}", b"1" * 200_000])
def test_nonsense_is_no_opening(message):
    with pytest.raises(StageError):
        StageSession.unpack(message)


def test_signals():
    assert unpack_signal(pack_signal(SignalKind.ROOM, 12)) == (SignalKind.ROOM, 12)
    for wrong in (b"", b"\x09" + bytes(8), bytes(10)):
        with pytest.raises(StageError):
            unpack_signal(wrong)


def rate_after(arrivals_s, numbers=None, n_bytes=125_000):
    """From frames that are handed over all at once, so that each waits for those before it."""
    now_s = 0.0
    times = FrameTimes(lambda: now_s)
    numbers = range(len(arrivals_s)) if numbers is None else numbers
    for number in numbers:
        times.sent(number, n_bytes)
    for number, arrival_s in zip(numbers, arrivals_s, strict=True):
        now_s = arrival_s
        times.arrived(number)
    return times.rate_bps


def test_frames_that_follow_each_other_are_timed_apart():
    arrivals_s = [1.0, 2.0, 3.5, 4.5, 6.0, 7.0, 8.5, 9.5]
    assert rate_after(arrivals_s[:3]) is None
    assert rate_after(arrivals_s) == pytest.approx(1e6, rel=0.15)


def test_frames_that_overtook_one_another_are_timed_apart():
    numbers = [1, 0, 3, 2, 5, 4, 7, 6]
    assert rate_after(np.arange(1.0, 9.0), numbers) == pytest.approx(1e6, rel=0.15)


def test_news_that_come_late_make_no_link_fast():
    arrivals_s = np.arange(1.0, 17.0)
    arrivals_s[3::4] += 0.99  # told with the next one's
    assert rate_after(arrivals_s) == pytest.approx(1e6, rel=0.15)


def test_a_link_that_slows_down_is_noticed_after_eight_frames():
    arrivals_s = np.concatenate([np.arange(1.0, 25.0), 24.0 + 3.0 * np.arange(1.0, 9.0)])
    assert rate_after(arrivals_s) == pytest.approx(1e6 / 3, rel=0.15)


def test_replace_keeps_what_packs():
    longer = replace(SESSION, hops=SESSION.hops * 100)
    assert StageSession.unpack(longer.pack()) == longer
