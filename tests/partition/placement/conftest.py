from __future__ import annotations

import sys

import pytest

from partition.placement import __main__ as command


@pytest.fixture
def run(monkeypatch, capsys, tiny):
    """The planner as a command on a tiny network; returns what it printed."""

    def run(*arguments):
        words = ["placement", "--model", str(tiny.path), "--cluster", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        command._main()
        return capsys.readouterr().out

    return run
