"""The self-test over real drivers: its verdicts, that it gives back, and that its file replays."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from hw.base import Cause, Hold
from hw.doctor.privacy import Secrets
from hw.doctor.survey import survey
from hw.selftest import power_checks
from hw.selftest.bench import SelfTestEnvironment
from hw.selftest.clock_checks import check_clocks
from hw.selftest.given_back import check_given_back
from hw.selftest.run import begin, run
from hw.sysfs import Sysfs
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.replay import replay
from tests.kernel.guest.machine import CPU_HZ, GPU_HZ, cooling_devices, write
from tests.kernel.guest.test_drive import JOURNAL, snapshot


@pytest.fixture
def bench(plant, monkeypatch):
    """A bench with short windows, whose load is the plant's; call it to look at the machine."""
    monkeypatch.setattr(power_checks, "LONGEST_S", 0.5)
    monkeypatch.setattr(power_checks, "SETTLE_S", 0.5)

    @contextmanager
    def load():
        plant(cpu_util=1.0, traffic_bytes_per_s=2e9)
        try:
            yield
        finally:
            plant()

    def pause(seconds: float) -> bool:
        time.sleep(seconds)
        return False

    around = SelfTestEnvironment(time.monotonic, time.sleep, pause, load, lambda: None, print)
    return lambda: begin(Sysfs(), around)


def verdicts(bench) -> dict[str, str]:
    return {check.name: check.verdict.value for check in bench.findings.checks}


def test_real_drivers_pass_and_the_file_replays(bench, tmp_path):
    before = snapshot()
    bench = bench()
    run(bench, lambda: None)
    assert snapshot() == before
    found = verdicts(bench)
    assert "fail" not in found.values()
    for clock in ("cpu0", "cpu1", "gpu", "emc"):
        for hold in ("cap", "pin"):
            assert found[f"clock {clock} by {hold}"] == "pass"
    for name in ("rail VDD_IN", "rail VDD_SYS_CPU", "power by cpu0", "power by gpu", "given back"):
        assert found[name] == "pass"
    zone = next(z for z in bench.findings.zones if "plant-thermal" in z.name)
    assert zone.limit_c == 85.0
    bound = {trip["temperature_c"]: trip["bound"] for trip in zone.trips}
    assert bound[85.0] == ("Processor", "Processor")
    assert "Processor" not in bound[70.0]
    reached = {(s.domain, s.end): s.seen_hz for s in bench.findings.steps if s.hold == "pin"}
    assert reached["cpu0", "lowest"] == CPU_HZ[0]
    assert reached["gpu", "highest"] == GPU_HZ[-1]

    document = json.loads(json.dumps(bench.findings.document(Secrets.of(bench.sysfs))))
    kernel, _ = replay(document)
    copy, here = survey(FakeSysfs(kernel, tmp_path)), survey(Sysfs())
    assert [c.available_hz for c in copy.clocks] == [c.available_hz for c in here.clocks]
    assert [c.limits_hz for c in copy.clocks] == [c.limits_hz for c in here.clocks]
    assert [(z.name, z.limit_c) for z in copy.zones] == [(z.name, z.limit_c) for z in here.zones]
    assert [(r.name, r.in_total) for r in copy.rails] == [(r.name, r.in_total) for r in here.rails]


def test_clock_that_is_held_down_by_heat_is_told_as_such(bench):
    write(cooling_devices()[0] / "cur_state", 2)
    bench = bench()
    check_clocks(bench, Hold.PIN)
    check_given_back(bench)
    steps = [s for s in bench.findings.steps if (s.domain, s.end) == ("cpu0", "highest")]
    assert {step.cause for step in steps} == {Cause.THERMAL.value}
    found = verdicts(bench)
    assert found["clock cpu0 by pin"] == "could not"
    assert found["clock cpu1 by pin"] == "pass"
    assert found["given back"] == "pass"


def test_command_that_is_interrupted_gives_back_and_leaves_its_file(tmp_path):
    before = snapshot()
    file = tmp_path / "found.json"
    command = [sys.executable, "-m", "hw.selftest", "--out", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("pass      clock cpu0 by cap"):
                assert Path(JOURNAL).exists()  # something is to be given back
                process.send_signal(signal.SIGQUIT)
    assert process.returncode == 128 + signal.SIGQUIT
    assert snapshot() == before
    assert not Path(JOURNAL).exists()
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["ended_by"] == "the user"
    assert document["checks"][-1]["name"] == "given back"
    assert document["checks"][-1]["verdict"] == "pass"
