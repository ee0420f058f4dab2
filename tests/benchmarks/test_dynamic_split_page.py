"""The page about dynamic split computing."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.papers import dynamic_split
from benchmarks.papers.dynamic_split import BATCHES, BYTES_PER_S, Bottlenecks, chosen, line
from envs.sim.build import build_sim_config


@pytest.fixture(scope="module")
def board(lite0):
    return build_sim_config("nano", lite0, ["steady-wifi"])


def test_every_published_bottleneck_is_looked_for():
    found = Bottlenecks((0.9, 0.6671, 0.3, 0.1667, 0.002), 12, 30)
    assert line("vgg16", found) == ["vgg16", "0.667, 0.167", "all", "0.9, 0.3", "12 of 30"]
    assert line("resnet-50", Bottlenecks((0.5,), 1, 9))[2] == "all but 0.667"
    assert line("vit", Bottlenecks((), 0, 9))[1:4] == ["none", "all", "none"]


def test_bottlenecks_shrink(lite0):
    found = Bottlenecks.of(lite0)
    assert list(found.compressive) == sorted(found.compressive, reverse=True)
    assert len(found.compressive) <= found.n_natural < found.n_cuts
    assert found.compressive[0] == pytest.approx(0.5, abs=0.01)


def test_the_slower_the_link_and_the_larger_the_batch_the_more_stays_on_the_board(board):
    routes = chosen(board)
    assert routes.shape == (len(BATCHES), len(BYTES_PER_S))
    assert (np.diff(routes, axis=0) >= 0).all()
    assert (np.diff(routes, axis=1) <= 0).all()
    assert len(np.unique(routes)) >= 3
    assert routes[-1, 0] == len(board.route_names) - 1


def test_the_map_is_drawn(board, tmp_path):
    path = tmp_path / "map.png"
    dynamic_split.save(dynamic_split.picture(board, chosen(board)), path)
    assert path.stat().st_size > 10_000
