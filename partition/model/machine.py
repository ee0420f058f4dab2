"""The machine that a measurement belongs to; needs the standard library alone."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("numpy", "onnx", "onnxruntime", "grpcio")


def describe_processor() -> dict[str, Any]:
    """What decides how fast a network runs here."""
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def describe_machine() -> dict[str, Any]:
    """Processor and versions that a measurement belongs to."""
    versions = {package: version(package) for package in _PACKAGES}
    return {**describe_processor(), "python": platform.python_version(), **versions}


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
