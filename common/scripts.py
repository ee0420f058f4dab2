"""The commands `dvfo-train` and `dvfo-deploy` of an installation: `train.py` and `deploy.py`."""

from __future__ import annotations

import runpy


def train() -> None:
    """Run `train.py`."""
    runpy.run_module("train", run_name="__main__", alter_sys=True)


def deploy() -> None:
    """Run `deploy.py`."""
    runpy.run_module("deploy", run_name="__main__", alter_sys=True)
