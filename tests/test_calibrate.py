"""`calibrate.py` as a user calls it; what it does is in tests/envs/calibration."""

from __future__ import annotations

import pytest


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
    assert "must be a positive number of minutes" in result.stderr
