"""The accuracy table: strict to read, exact to look up; the published page is what it says."""

from __future__ import annotations

import json
import random

import pytest

from partition.model.accuracy_table import (
    ACCURACY_FILE,
    AccuracyRow,
    AccuracyTable,
    AccuracyTableError,
)
from tests.conftest import REPOSITORY, script_command

RESULTS = REPOSITORY / "results"


def row(**changes) -> AccuracyRow:
    values = {
        "split": "blocks.0",
        "xi": 0.5,
        "bits": 4,
        "accuracy": 0.9,
        "low": 0.89,
        "high": 0.91,
        "validation_accuracy": 0.9,
        "edge_weight": 0.3,
        "channels": 24,
        "sent_channels": 12,
        "wire_bytes": 500,
        "float32_bytes": 6144,
        "edge_flops": 10,
        "cloud_flops": 20,
    }
    return AccuracyRow(**{**values, **changes})


def table(*rows) -> AccuracyTable:
    return AccuracyTable(
        model="net",
        fingerprint="0" * 16,
        data="fashion-mnist",
        command="python -m partition.train_attention",
        n_test=100,
        n_validation=50,
        whole_accuracy=0.91,
        whole_validation_accuracy=0.91,
        rows=rows or (row(), row(xi=1.0, sent_channels=24, wire_bytes=1000), row(bits=8)),
    )


def test_a_table_survives_the_disk(tmp_path):
    table().save(tmp_path)
    assert AccuracyTable.load(tmp_path, "0" * 16) == table()


def test_lookup_finds_exactly_what_was_measured():
    assert table().lookup("blocks.0", 1.0, 4).wire_bytes == 1000
    with pytest.raises(AccuracyTableError, match=r"choose from 0\.5 \(4 bits\), 1 \(4 bits\)"):
        table().lookup("blocks.0", 0.25, 4)
    with pytest.raises(AccuracyTableError, match="no split point 'stem' in the table"):
        table().lookup("stem", 0.5, 4)


def test_a_table_of_another_model_or_none_is_told(tmp_path):
    with pytest.raises(AccuracyTableError, match=r"is missing: run python -m"):
        AccuracyTable.load(tmp_path)
    table().save(tmp_path)
    with pytest.raises(AccuracyTableError, match="is of model 0000000000000000, not abc"):
        AccuracyTable.load(tmp_path, "abc")


def _set(data, path, value):
    *parents, last = path
    for key in parents:
        data = data[key]
    if value is KeyError:
        del data[last]
    else:
        data[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema_version",), 2),
        (("schema_version",), KeyError),
        (("model",), 3),
        (("surprise",), 1),
        (("n_test",), 0),
        (("whole_accuracy",), float("nan")),
        (("appeals",), []),
        (("rows",), []),
        (("rows",), None),
        (("rows", 0), "row"),
        (("rows", 0, "xi"), KeyError),
        (("rows", 0, "xi"), 1.5),
        (("rows", 0, "xi"), True),
        (("rows", 0, "bits"), 5),
        (("rows", 0, "accuracy"), "high"),
        (("rows", 0, "accuracy"), 0.5),
        (("rows", 0, "wire_bytes"), -1),
        (("rows", 0, "wire_bytes"), 1.5),
        (("rows", 0, "sent_channels"), 25),
        (("rows", 0, "bits"), 8),
    ],
)
def test_garbage_is_refused_in_a_sentence(tmp_path, path, value):
    table().save(tmp_path)
    data = json.loads((tmp_path / ACCURACY_FILE).read_text())
    _set(data, path, value)
    (tmp_path / ACCURACY_FILE).write_text(json.dumps(data))
    with pytest.raises(AccuracyTableError, match=r"run python -m partition\.train_attention again"):
        AccuracyTable.load(tmp_path)


def test_broken_files_are_refused_in_a_sentence(tmp_path):
    table().save(tmp_path)
    whole = (tmp_path / ACCURACY_FILE).read_bytes()
    rng = random.Random(0)
    for _ in range(200):
        data = bytearray(whole)
        data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / ACCURACY_FILE).write_bytes(bytes(data[: rng.randrange(len(data))]))
        with pytest.raises(AccuracyTableError):
            AccuracyTable.load(tmp_path)


def test_a_board_reads_and_runs_without_torch(tmp_path):
    script = tmp_path / "board.py"
    script.write_text(
        "from partition.attention import appeals, runtime, select\n"
        "from partition.model import accuracy_table\n"
    )
    import subprocess

    command = script_command(script, block=("torch", "matplotlib", "gymnasium"))
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_published_page_is_what_the_tables_say():
    pytest.importorskip("matplotlib")
    from benchmarks.attention import report

    assert (RESULTS / "attention.md").read_text() == report.markdown(*report.read(RESULTS))
