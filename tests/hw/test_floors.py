from __future__ import annotations

from benchmarks import clock_change
from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.sysfs import Sysfs


def test_the_change_that_is_measured_passes_the_guard(tmp_path):
    """What a guard reads belongs to the price of a change; without a limit there is none."""
    clock_change._build(tmp_path)
    with LinuxBoard(Sysfs(tmp_path), hold=Hold.PIN) as board:
        assert len(board.domains) == 3
        assert board.guard is not None


def test_a_change_takes_longer_than_its_bare_system_calls(monkeypatch):
    monkeypatch.setattr(clock_change, "N_ROUNDS", 20)
    monkeypatch.setattr(clock_change, "WARM_UP_ROUNDS", 2)
    ours_s, bare_s = clock_change.measure_change_s()
    assert ours_s > bare_s > 0.0
