"""The commands `dvfo-calibrate`, `dvfo-train` and `dvfo-deploy` of an installation."""

from __future__ import annotations

import runpy


def calibrate() -> None:
    """Run `calibrate.py`."""
    runpy.run_module("calibrate", run_name="__main__", alter_sys=True)


def train() -> None:
    """Run `train.py`."""
    runpy.run_module("train", run_name="__main__", alter_sys=True)


def deploy() -> None:
    """Run `deploy.py`."""
    runpy.run_module("deploy", run_name="__main__", alter_sys=True)
