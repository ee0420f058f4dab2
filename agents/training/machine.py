"""Record of the machine that computed a result: processor, system, versions, commit."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from partition.model.machine import describe_machine as describe_inference_machine

_PACKAGES = ("gymnasium", "stable-baselines3", "torch")


def describe_machine() -> dict[str, Any]:
    """Processor, system, versions of the packages that matter, and the commit."""
    learning = {name: version(name) for name in _PACKAGES}
    return {**describe_inference_machine(), **learning, "commit": _commit()}


def _commit() -> str:
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()
