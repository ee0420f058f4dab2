"""The map of where splitting pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.splitting.cell import RATES_MBPS, cell, lost_without, worlds
from benchmarks.splitting.inputs import AS_IT_IS, ENCODED, FILE, jpeg_cost, with_input
from benchmarks.splitting.networks import MANY_ROUTES, thinned
from benchmarks.splitting.page import figure, page
from partition.model.network_costs import NetworkCosts


@pytest.fixture(scope="module")
def at_rest():
    return worlds("pi4", NetworkCosts.open("efficientnet-lite0"))


def test_a_weak_link_keeps_all_on_the_board_and_a_fast_one_sends_it_away(at_rest):
    cells = [cell(world, AS_IT_IS, 224) for world in at_rest.values()]
    places = [each.where for each in cells]
    assert (places[0], places[-1]) == ("board", "cloud")
    assert all(each.without_inside >= 0.0 for each in cells)
    inside = [each.without_inside for each in cells if each.where == "inside"]
    assert inside
    assert max(inside) > 0.05
    assert lost_without(cells, 0) >= 0.0
    assert lost_without(cells[:1], 0) == pytest.approx(0.0)


def test_a_picture_as_jpeg_takes_fewer_bytes_and_encoding_takes_cycles(at_rest):
    world = at_rest[RATES_MBPS[0]]
    costs = {kind: with_input(world, kind, 224).costs for kind in (AS_IT_IS, ENCODED, FILE)}
    sent = {kind: found.wire_bytes[0] for kind, found in costs.items()}
    assert jpeg_cost(224).n_bytes < sent[ENCODED] == sent[FILE] < 0.5 * sent[AS_IT_IS]
    cycles = {kind: found.head.cpu_cycles[0] for kind, found in costs.items()}
    assert cycles[FILE] == cycles[AS_IT_IS] < cycles[ENCODED]
    np.testing.assert_array_equal(costs[FILE].wire_bytes[1:], costs[AS_IT_IS].wire_bytes[1:])
    assert with_input(world, ENCODED, None) is world


def test_many_routes_are_thinned_and_both_ends_stay():
    network = NetworkCosts.open("efficientnet-lite0")
    assert thinned(network) is network
    first, *inner, last = network.routes
    many = replace(network, routes=(first, *inner * 6, last))
    kept = thinned(many).routes
    assert len(kept) == MANY_ROUTES
    assert (kept[0], kept[-1]) == (first, last)
    assert min(route.wire_bytes for route in kept[1:-1]) == min(r.wire_bytes for r in inner)


def test_page_and_picture_show_every_strip(at_rest, tmp_path):
    cells = [cell(world, AS_IT_IS, 224) for world in at_rest.values()]
    found = {("pi4", "efficientnet-lite0", kind): cells for kind in (AS_IT_IS, FILE)}
    text = page(found, "python -m benchmarks.splitting", "map.png")
    rows = [line for line in text.splitlines() if line.startswith("| efficientnet-lite0")]
    assert len(rows) == 2
    assert rows[0].count("|") == rows[1].count("|") == 17
    figure(found).savefig(tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 5_000
