"""A self-test's file as a fake board: the same verdicts again, and a board like any other."""

from __future__ import annotations

import random

import pytest

from hw.base import Cause
from hw.doctor.survey import survey
from hw.selftest.power_checks import check_rails
from hw.selftest.run import begin
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.kernel import NEW
from tests.hw.fake.plant import Plant
from tests.hw.fake.replay import replay
from tests.hw.selftest.bench import document_of, self_test, surroundings, verdicts

LAG_S = {"policy": 0.004, "gpu": 0.012, "npu": 0.02}


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Files of self-tests on boards of the newer kernel, whose clocks take their time."""
    made = {}

    def build(name: str) -> dict:
        if name not in made:
            kernel = BOARDS[name](NEW)
            for device, lag_s in LAG_S.items():
                for found in [d for n, d in kernel.devices.items() if device in n]:
                    if hasattr(found, "lag_s"):
                        found.lag_s = lag_s
            sysfs = FakeSysfs(kernel, tmp_path_factory.mktemp("board"))
            made[name] = document_of(self_test(sysfs, Plant(kernel).load))
        return made[name]

    return build


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_passes_and_its_file_replays_to_the_same_verdicts(machine, tmp_path, name):
    sysfs = machine(name)
    before, requests = sysfs.kernel.snapshot(), sysfs.kernel.requests()
    bench = self_test(sysfs, Plant(sysfs.kernel).load)
    assert sysfs.kernel.snapshot() == before
    assert sysfs.kernel.requests() == requests
    assert not bench.findings.has_failed, bench.findings.checks
    found = verdicts(bench)
    for clock in survey(sysfs).clocks:
        for hold in clock.holds:
            assert found[f"clock {clock.name} by {hold}"] == "pass"
    assert found["given back"] == "pass"
    assert sysfs.kernel.now_s < 1200  # three minutes

    kernel, power = replay(document_of(bench))
    root = tmp_path / "replayed"
    root.mkdir()
    again = self_test(FakeSysfs(kernel, root), power.load)
    assert verdicts(again) == found
    assert [s.applied_hz for s in again.findings.steps] == [
        s.applied_hz for s in bench.findings.steps
    ]


@pytest.mark.parametrize("name", BOARDS)
def test_doctor_finds_the_same_in_the_replayed_board(machine, tmp_path, name):
    sysfs = machine(name)
    expected = survey(sysfs)
    kernel, _ = replay(document_of(self_test(sysfs, Plant(sysfs.kernel).load)))
    found = survey(FakeSysfs(kernel, tmp_path))
    assert found.clocks == expected.clocks
    assert [(z.name, z.limit_c) for z in found.zones] == [
        (z.name, z.limit_c) for z in expected.zones
    ]
    assert [(r.name, r.in_total, r.period_s) for r in found.rails] == [
        (r.name, r.in_total, r.period_s) for r in expected.rails
    ]
    assert (found.machine, found.kernel, found.power_mode) == (
        (expected.machine, expected.kernel, expected.power_mode)
    )


@pytest.mark.parametrize("name", ["jetson-orin-nx", "jetson-nano", "rk3588", "raspberry-pi-4"])
def test_replayed_clocks_follow_after_the_recorded_time(documents, tmp_path, name):
    document = documents(name)
    kernel, power = replay(document)
    again = document_of(self_test(FakeSysfs(kernel, tmp_path), power.load))
    slow = {s["domain"] for s in document["steps"] if s["hold"] == "pin" and s["seen_s"] > 0.003}
    assert slow == {s["domain"] for s in document["steps"]} - {"emc"}
    for one, two in zip(document["steps"], again["steps"], strict=True):
        if one["seen_s"] is None:
            assert two["seen_s"] is None
        else:
            assert two["seen_s"] == pytest.approx(one["seen_s"], rel=0.1, abs=0.002)


@pytest.mark.parametrize("name", ["jetson-orin-nano-super", "jetson-agx-orin", "x86-intel"])
def test_replayed_power_is_the_recorded_one(documents, tmp_path, name):
    document = documents(name)
    kernel, power = replay(document)
    again = document_of(self_test(FakeSysfs(kernel, tmp_path), power.load))
    assert len(again["windows"]) == len(document["windows"]) >= 4
    for one, two in zip(document["windows"], again["windows"], strict=True):
        assert two["reading"]["energy_j"] == pytest.approx(one["reading"]["energy_j"], rel=0.05)


@pytest.mark.parametrize("name", ["jetson-orin-nano-super", "jetson-tx2", "rk3588", "x86-acpi"])
def test_replayed_board_can_be_driven_and_is_given_back(documents, tmp_path, open_linux, name):
    kernel, _ = replay(documents(name))
    before = kernel.snapshot()
    choose = random.Random(name)
    board = open_linux(FakeSysfs(kernel, tmp_path))
    for _ in range(30):
        point = {n: choose.choice(d.available_hz) for n, d in board.domains.items()}
        board.apply(point)
        kernel.sleep(0.1)
        board.verify()
        for domain, applied in board.applied.items():
            if applied.cause is None:
                seen_hz = board.domains[domain].read_hz()
                assert seen_hz == pytest.approx(applied.applied_hz, rel=0.005)
            else:
                assert applied.cause in (Cause.POWER_MODE, Cause.LIMIT)
    board.close()
    assert kernel.snapshot() == before


def test_replayed_zone_slows_down_what_it_is_bound_to(documents, tmp_path, open_linux):
    kernel, _ = replay(documents("jetson-orin-nx"))
    board = open_linux(FakeSysfs(kernel, tmp_path))
    board.guard = None
    board.apply({name: domain.available_hz[-1] for name, domain in board.domains.items()})
    kernel.devices["cpu-thermal"].heat_to(103.0)
    board.verify()
    causes = {name: applied.cause for name, applied in board.applied.items()}
    assert causes["cpu0"] is causes["cpu4"] is Cause.THERMAL
    assert causes["gpu"] is None


def test_rail_that_fails_now_and_then_does_so_in_the_replayed_board(machine, tmp_path):
    sysfs = machine("rk3588")
    reads = []

    def fail_sometimes(operation, path):
        if path.endswith("power1_input"):
            reads.append(path)
            if len(reads) % 25 == 0 and bench_runs:
                raise OSError(5, "Input/output error", path)

    bench_runs: list[bool] = []
    plant = Plant(sysfs.kernel)
    step = sysfs.kernel.before_access

    def both(operation, path):
        step(operation, path)
        fail_sometimes(operation, path)

    sysfs.kernel.before_access = both

    bench = begin(sysfs, surroundings(sysfs, plant.load))
    bench_runs.append(True)
    check_rails(bench)
    (series,) = bench.findings.series
    assert series.n_reads / 30 < series.n_failed < series.n_reads / 20
    assert verdicts(bench)[f"rail {series.rail}"] == "pass"
    kernel, _ = replay(document_of(bench))
    again = begin(FakeSysfs(kernel, tmp_path), surroundings(FakeSysfs(kernel, tmp_path)))
    check_rails(again)
    (replayed,) = again.findings.series
    assert replayed.n_failed == pytest.approx(series.n_failed, abs=1)
