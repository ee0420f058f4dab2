"""The guest's hardware, in its state after boot before each test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.guest import machine
from tests.kernel.guest.i2c import Ina3221

# Nothing to collect on any other machine: these tests set clocks.
IN_MACHINE = machine.TEMPERATURE.exists()
collect_ignore_glob = [] if IN_MACHINE else ["test_*"]


@pytest.fixture(autouse=True)
def as_booted() -> None:
    """Also keeps a test that was named on the command line from setting a real board's clocks."""
    if not IN_MACHINE:
        pytest.fail("this test belongs into its own machine; run it by make kernel-test")
    machine.reset()


@pytest.fixture
def ina3221() -> Iterator[Ina3221]:
    chip = Ina3221((0.005, 0.01, 0.01))
    yield chip
    chip.close()


@pytest.fixture(scope="session")
def plant_control(tmp_path_factory) -> Iterator[Path]:
    """The file that makes the plant run; the process itself takes seconds to start here."""
    control = tmp_path_factory.mktemp("plant") / "control.json"
    with subprocess.Popen(
        (sys.executable, "-m", "tests.kernel.guest.plant", str(control)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield control
        process.stdin.close()


@pytest.fixture
def plant(plant_control) -> Iterator[Callable[..., None]]:
    """A board that draws power and warms up; call it with what the board is doing."""

    def load(**settings: float) -> None:
        # Renamed, so that the plant never reads half a file.
        new = plant_control.with_suffix(".new")
        new.write_text(json.dumps(settings), encoding="utf-8")
        new.replace(plant_control)

    load()
    yield load
    plant_control.unlink()
