"""Five real networks out of installed packages, whole and damaged; `make models-test` runs all."""

from __future__ import annotations

import sys

import pytest

from benchmarks.models.damage import run
from benchmarks.models.network_row import cut_error, packaged
from benchmarks.models.serving import served_points
from partition import cli
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.prepare import __main__ as command
from partition.server.cloud_server import CloudServer

NAMES = ("light-squeezenet", "logreg-iris", "tashkeel-rawi", "asr-kaldi", "surfaces-boosting")
"""Opset 9 of 2018, a classifier of scikit-learn, an int8 LSTM, features of speech, opset 21."""
DAMAGED = ("tashkeel-rawi", "surfaces-boosting", "logreg-iris")
DRAWS, BUDGET_S = 20, 60.0


@pytest.mark.parametrize("name", NAMES)
def test_a_real_network_is_prepared_cut_and_served(name, tmp_path, monkeypatch, capsys):
    case = packaged(name)
    options = ["--model", str(case.path), "--out", str(tmp_path / "out"), *case.options(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["partition.prepare", *options])
    assert cli.run(command._main) == 0, capsys.readouterr().err
    folder = ModelFolder.open(tmp_path / "out")
    runtime = SplitRuntime(folder)
    error, is_equal = cut_error(case, folder, runtime)
    assert is_equal, error
    with CloudServer([folder]) as server:
        points = served_points(
            f"127.0.0.1:{server.port}", folder, runtime, lambda seed: case.inputs(folder, 1, seed)
        )
    assert points == len(folder.split_points) - 1 > 0


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_ends_in_a_sentence_or_a_folder(name, tmp_path):
    case = packaged(name)
    options = case.options(tmp_path)
    outcome = run.outcome_of(case.path, options, DRAWS, BUDGET_S, case.beside)
    assert outcome.failures == []
    assert outcome.draws == DRAWS
    assert outcome.ends["refused"] > DRAWS / 4
