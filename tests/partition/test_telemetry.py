"""What runs a network tells nobody about it."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.soak.cloud import ProxyTrap
from tests.conftest import REPOSITORY

SECONDS = 15.0
"""ONNX Runtime 1.32 sends its first events after 9 s."""
CODE = """
import sys, time
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime, random_inputs
folder = ModelFolder.open(sys.argv[1])
SplitRuntime(folder).whole(random_inputs(folder))
time.sleep(float(sys.argv[2]))
"""


def test_running_a_network_sends_nothing_anywhere(tiny):
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    with ProxyTrap() as trap:
        subprocess.run(
            [sys.executable, "-c", CODE, str(tiny.path), str(SECONDS)],
            cwd=REPOSITORY,
            env=environment | trap.environment,
            timeout=60,
            check=True,
        )
    assert trap.visits == 0
