"""A sweep on Ray workers: the same folders as on one machine, finished runs left alone."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile

import pytest

from agents.policy.frozen import METADATA_FILE
from tests.cluster.local_ray import REPOSITORY
from tests.conftest import one_sentence, script_command

pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(900)
TRAIN = REPOSITORY / "train.py"
ALGORITHMS = ("edge-only", "random")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, tiny, small_device):
    path = tmp_path_factory.mktemp("sweep") / "grid.toml"
    path.write_text(
        f'algo = {list(ALGORITHMS)}\nmodel = ["{tiny.path}"]\ndevice = ["{small_device}"]\n'
        'scenario = ["steady-wifi"]\n'
    )
    return path


@pytest.fixture(scope="module")
def train(sweep, local_ray):
    def run():
        return subprocess.run(
            [sys.executable, str(TRAIN), "--sweep", str(sweep), "--ray", local_ray.address],
            cwd=sweep.parent,
            env=local_ray.environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    return run


def test_every_run_leaves_its_folder_here_and_is_not_trained_twice(sweep, train):
    first = train()
    assert first.returncode == 0, first.stdout + first.stderr
    folders = [
        path for path in (sweep.parent / "results/runs/sweep-grid").iterdir() if path.is_dir()
    ]
    assert sorted(path.name.split("__")[0] for path in folders) == sorted(ALGORITHMS)
    for folder in folders:
        assert {"config.json", "machine.json", "evaluation.csv"} <= {
            p.name for p in folder.iterdir()
        }
        assert (folder / "policy" / METADATA_FILE).is_file()
        assert f"{folder.name}: done on " in first.stdout
    written_s = [(folder / "evaluation.csv").stat().st_mtime for folder in folders]
    again = train()
    assert again.returncode == 0, again.stderr
    assert "2 runs, 0 to be done" in again.stdout
    assert [(folder / "evaluation.csv").stat().st_mtime for folder in folders] == written_s


def test_ray_without_a_sweep_is_refused(script_error):
    assert "--sweep" in script_error("train.py", "--ray", "auto")


def test_without_ray_the_extra_is_named(sweep):
    done = subprocess.run(
        script_command("train.py", "--sweep", sweep, "--ray", "auto", block=("ray",)),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "'.[cluster]'" in one_sentence(done)


def test_an_archive_cannot_write_outside_its_folder(tmp_path):
    from agents.training.sweep_ray import _unpack

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    with pytest.raises(tarfile.OutsideDestinationError):
        _unpack(buffer.getvalue(), tmp_path / "run")
    assert not (tmp_path / "outside").exists()
