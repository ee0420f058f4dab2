"""Seams: chosen where they save memory, and never noticed in an answer."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from partition.model.runtime import SplitRuntime, random_inputs
from partition.model.seams import choose_seams, part_bytes, route
from partition.server import memory
from partition.server.model_store import ModelStore


@pytest.mark.parametrize(
    ("start", "end", "parts"),
    [
        (0, 9, ((0, 3), (3, 6), (6, 9))),
        (3, 6, ((3, 6),)),
        (4, 9, ((4, 6), (6, 9))),
        (7, 8, ((7, 8),)),
        (9, 9, ()),
    ],
)
def test_a_side_is_joined_at_the_seams_on_its_way(start, end, parts):
    assert route(start, end, (3, 6)) == parts


def test_a_small_network_has_none_and_a_large_one_late(tiny, lite0):
    assert choose_seams(tiny.cuts, tiny.split_points) == ()
    seams = choose_seams(lite0.cuts, lite0.split_points)
    assert seams == tuple(sorted(seams))
    assert len(seams) == 2
    assert lite0.cuts[seams[0]].head.flops > lite0.cuts[-1].head.flops / 2
    assert lite0.cuts[seams[1]].float32_bytes < 16_384


def test_tails_of_a_large_network_share_its_weights(lite0):
    store = ModelStore([lite0])
    store.load_all()
    weights = lite0.cuts[-1].head.param_bytes
    alone = sum(point.tail.param_bytes for point in lite0.split_points[:-1])
    held = store._runtimes[lite0.fingerprint].held_param_bytes
    assert alone > 4 * weights
    assert held < 1.7 * weights
    assert store.loaded_bytes >= held


def test_answers_do_not_depend_on_seams(lite0):
    runtime = SplitRuntime(lite0)
    inputs = random_inputs(lite0)
    (whole,) = runtime.whole(inputs)
    for point in lite0.split_points:
        (logits,) = runtime.tail(point, runtime.head(point, inputs))
        assert np.abs(logits - whole).max() <= 2e-6 * np.abs(whole).max()


def test_a_tail_that_is_let_go_takes_along_what_no_other_uses(lite0):
    runtime = SplitRuntime(lite0)
    first, last = lite0.split_points[1], lite0.split_points[-2]
    held = [runtime.hold_tail(first), runtime.hold_tail(last)]
    both = runtime.held_param_bytes
    del held[0]
    assert runtime.held_param_bytes < both
    assert runtime.held_param_bytes >= last.tail.param_bytes - 64
    held.clear()
    assert runtime.held_param_bytes == 0


def test_a_budget_counts_what_tails_share_once(lite0):
    runtime = SplitRuntime(lite0)
    points = lite0.split_points[:-1]
    parts = {part for point in points for part in runtime.tail_parts(point)}
    store = ModelStore([lite0])
    store.load_all()
    weights = sum(part_bytes(lite0.cuts, part) for part in parts)
    assert weights < store.loaded_bytes < weights + 1e6 * len(parts)
    budget = store.loaded_bytes
    assert ModelStore([lite0], budget_bytes=budget)._budget_bytes == budget
    tight = ModelStore([lite0], budget_bytes=int(0.9 * budget))
    for _ in range(2):
        for point in points:
            tight.tail(lite0.fingerprint, point.index)
            assert tight.loaded_bytes <= 0.9 * budget
            held = tight._runtimes[lite0.fingerprint].held_param_bytes
            assert held <= tight.loaded_bytes


def test_a_server_gives_back_what_nobody_uses_until_it_ends(monkeypatch):
    given_back = threading.Semaphore(0)
    monkeypatch.setattr(memory, "give_back_memory", given_back.release)
    returning = memory.MemoryReturn(every_s=0.01)
    returning.start()
    assert all(given_back.acquire(timeout=5) for _ in range(3))
    returning.close()
    returning._thread.join(5)
    assert not returning._thread.is_alive()
