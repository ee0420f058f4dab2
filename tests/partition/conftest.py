"""A server and an input for the tiny network, and a way to run a command as a user does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from partition.model.runtime import SplitRuntime
from partition.server.cloud_server import CloudServer

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def runtime(tiny) -> SplitRuntime:
    return SplitRuntime(tiny)


@pytest.fixture
def server(tiny, runtime) -> Iterator[CloudServer]:
    with CloudServer(tiny, runtime) as server:
        yield server


@pytest.fixture
def image(tiny) -> np.ndarray:
    return np.random.default_rng(0).normal(size=tiny.input_shape).astype(np.float32)


@pytest.fixture
def run_module() -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *map(str, arguments)]
        return subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.fixture
def user_error(run_module) -> Callable[..., str]:
    """Run a command that must fail with one sentence; returns the sentence."""

    def check(*arguments: object) -> str:
        result = run_module(*arguments)
        assert result.returncode == 2, result
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("error: ")
        return lines[0]

    return check
