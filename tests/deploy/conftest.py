"""Runs and a machine for `deploy.py`, and calls of it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import deploy
from envs.live.plant import live_layout
from hw.boards.linux import LinuxBoard
from tests.conftest import LEARNING_PACKAGES
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.runs import constant_policy, write_run

CLOUD, EDGE = (2, 1, 2, 0), (0, 1, 2, 4)
BLOCKED = (*LEARNING_PACKAGES, "onnxscript")


@pytest.fixture
def cloud_run(tiny, small_device, small_world, tmp_path):
    policy = constant_policy(small_world.layout, CLOUD)
    return write_run(tmp_path / "cloud-run", policy, small_device, tiny.path)


@pytest.fixture
def edge_run(tiny, small_device, small_world, tmp_path):
    policy = constant_policy(small_world.layout, EDGE)
    return write_run(tmp_path / "edge-run", policy, small_device, tiny.path)


@pytest.fixture
def photographs(tmp_path):
    """Two small images, quicker to load than the shipped ones."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def main(photographs, kept_signals):
    """Call `deploy.main`."""

    def call(run, *options, **keywords) -> int:
        arguments = ["--run", run, "--source", photographs, *options]
        return deploy.main([str(argument) for argument in arguments], **keywords)

    return call


@pytest.fixture
def refusal(main, capsys):
    """Run `deploy.main` on bad input; returns its one sentence."""

    def run(*arguments, **keywords) -> str:
        assert main(*arguments, **keywords) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        return lines[0]

    return run


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A Jetson Orin Nano's kernel, which `--board linux` reaches instead of this machine's."""
    kernel = BOARDS["jetson-orin-nano"]("new")
    monkeypatch.setattr("hw.boards.registry.Sysfs", lambda root: FakeSysfs(kernel, root))
    return FakeSysfs(kernel, tmp_path / "machine")


@pytest.fixture
def machine_run(machine, tiny, tmp_path):
    with LinuxBoard(machine) as board:
        layout = live_layout(board, tiny, 10.0)
    slowest = [0] * len(layout.domains)
    policy = constant_policy(layout, (*slowest, 4))
    return write_run(tmp_path / "machine-run", policy, "", tiny.path)


def watch_limits(monkeypatch, machine: FakeSysfs) -> list[tuple[int, int]]:
    """Limits of the first clock after each control step, kHz."""
    seen: list[tuple[int, int]] = []
    add = deploy.ServiceTotals.add

    def watched(self, info, decision_s):
        seen.append(machine.kernel.devices["policy0"].limits_khz())
        add(self, info, decision_s)

    monkeypatch.setattr(deploy.ServiceTotals, "add", watched)
    return seen
