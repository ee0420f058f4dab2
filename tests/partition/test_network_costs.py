"""Costs of networks: those of a model folder, and those that ship."""

from __future__ import annotations

import json
import shutil

import pytest

from partition.errors import ModelFolderError, ModelNotFoundError
from partition.model.network_costs import SHIPPED, NetworkCosts

NAMES = sorted(path.stem for path in SHIPPED.iterdir())


def test_the_default_network_ships():
    assert "efficientnet-lite0" in NAMES


def test_what_ships_is_what_prepare_writes(lite0):
    shipped = (SHIPPED / "efficientnet-lite0.json").read_text()
    written = (lite0.path / "cuts.json").read_text()
    assert json.loads(shipped) == json.loads(written)  # else copy the new one


@pytest.mark.parametrize("name", NAMES)
def test_what_ships_is_read_where_no_folder_of_that_name_is(name, tmp_path):
    costs = NetworkCosts.open(name, root=tmp_path)
    assert costs.name == name
    assert costs.routes[0].wire_bytes > 0
    assert costs.routes[-1].wire_bytes == 0
    assert len(costs.cut_list_fingerprint) == 16


def test_a_folder_goes_before_what_ships(tiny, tmp_path):
    shutil.copytree(tiny.path, tmp_path / "efficientnet-lite0")
    assert NetworkCosts.open("efficientnet-lite0", root=tmp_path) == NetworkCosts.of(tiny)
    (tmp_path / "efficientnet-lite0" / "weights.bin").write_bytes(b"damaged")
    with pytest.raises(ModelFolderError, match="corrupt"):
        NetworkCosts.open("efficientnet-lite0", root=tmp_path)


@pytest.mark.parametrize("name", ["no-such-network", "../shipped/efficientnet-lite0"])
def test_another_network_has_to_be_prepared(name, tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"partition\.prepare"):
        NetworkCosts.open(name, root=tmp_path / "models")
