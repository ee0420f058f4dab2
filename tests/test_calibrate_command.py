"""`calibrate.py` as a user calls it; what it does is in tests/envs/calibration."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from envs.calibration.run import record_path
from tests.conftest import REPOSITORY, script_command


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--board", "nope"), "board 'nope' is unknown"),
        (("--board", "sim", "--device", "nope"), "device 'nope' is unknown"),
        (("--board", "sim", "--model", "nope"), "nope"),
        (("--board", "sim", "--out", "mine.json"), "ends in .toml"),
        (("--board", "sim", "--cloud", "localhost:1"), "localhost:1"),
    ],
)
def test_what_is_wrong_is_one_sentence(script_error, tiny, tmp_path, options, message):
    given = {"--model": tiny.path, "--out": tmp_path / "mine.toml"}
    given |= dict(zip(options[::2], options[1::2], strict=True))
    words = [word for option in given.items() for word in option]
    assert message in script_error("calibrate.py", *words)
    assert not (tmp_path / "mine.toml").exists()


def test_minutes_are_a_positive_number(run_script, tmp_path):
    options = ("--board", "sim", "--out", tmp_path / "mine.toml", "--minutes", "-1")
    result = run_script("calibrate.py", *options)
    assert result.returncode == 2
    assert "is not a positive number" in result.stderr


def test_a_measurement_that_is_stopped_keeps_its_samples(tiny, tmp_path):
    out = tmp_path / "mine.toml"
    options = ("--board", "sim", "--model", tiny.path, "--minutes", "1", "--out", out)
    process = subprocess.Popen(
        script_command("calibrate.py", *options),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline_s = time.monotonic() + 60.0
        while n_lines(record_path(out)) < 4 and time.monotonic() < deadline_s:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("stopped; the board is as it was")
    assert n_lines(record_path(out)) >= 4
    assert not out.exists()


def n_lines(path):
    return path.read_text().count("\n") if path.is_file() else 0
