"""Openings and signals: what packs unpacks, and nothing else does."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from partition.stages.errors import StageError
from partition.stages.link_meter import LinkMeter
from partition.stages.session import Hop, Kind, Session, pack_signal, unpack_signal

SESSION = Session(
    number=7,
    fingerprint="0123456789abcdef",
    codec="int8",
    queue_depth=2,
    hops=(Hop("10.0.0.1:5", 0, 3), Hop("10.0.0.2:6", 3, 9)),
    sink="10.0.0.3:7",
)


def test_an_opening_comes_back_and_points_on():
    assert Session.unpack(SESSION.pack()) == SESSION
    assert SESSION.next_address == "10.0.0.2:6"
    assert SESSION.behind().next_address == SESSION.behind().behind().sink == "10.0.0.3:7"


@pytest.mark.parametrize(
    "change",
    [
        {"number": -1},
        {"number": True},
        {"codec": "zip"},
        {"sink": "nowhere"},
        {"hops": [{"address": "10.0.0.1:5", "start": 3, "end": 3}]},
        {"hops": [{"address": "10.0.0.1:5", "start": 0, "end": 1, "more": 1}]},
        {"hops": [7]},
        {"queue_depth": 1.5},
        {"extra": 1},
    ],
)
def test_another_opening_is_refused(change):
    message = json.dumps(asdict(SESSION) | change).encode()
    with pytest.raises(StageError):
        Session.unpack(message)


@pytest.mark.parametrize("message", [b"", b"\xff", b"[]", b"{}", b"1" * 200_000])
def test_nonsense_is_no_opening(message):
    with pytest.raises(StageError):
        Session.unpack(message)


def test_signals():
    assert unpack_signal(pack_signal(Kind.ROOM, 12)) == (Kind.ROOM, 12)
    for wrong in (b"", b"\x09" + bytes(8), bytes(10)):
        with pytest.raises(StageError):
            unpack_signal(wrong)


def test_the_meter_takes_frames_that_follow_each_other_apart():
    now_s = 0.0
    meter = LinkMeter(lambda: now_s)
    arrivals_s = [1.0, 2.0, 3.5, 4.5, 6.0, 7.0, 8.5]
    for number in range(8):
        meter.sent(number, 125_000)  # all at once: each waits for those before it
    for number, arrival_s in enumerate(arrivals_s):
        now_s = arrival_s
        meter.arrived(number)
    assert meter.rate_bps is None
    now_s = 9.5
    meter.arrived(7)
    assert meter.rate_bps == pytest.approx(1e6)


def test_replace_keeps_what_packs():
    longer = replace(SESSION, hops=SESSION.hops * 100)
    assert Session.unpack(longer.pack()) == longer
