"""What a self-test finds wrong with a board, and how it says so."""

from __future__ import annotations

import errno
import importlib.util
import json
import sys
from dataclasses import replace

import pytest

from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.errors import SensorReadError
from hw.selftest import other_checks
from hw.selftest import run as command
from hw.selftest.clock_checks import check_clocks
from hw.selftest.run import begin, run
from tests.hw.fake.plant import Plant
from tests.hw.fake.system import start_daemon
from tests.hw.selftest.bench import document_of, self_test, surroundings, texts, verdicts

ORIN = "jetson-orin-nano-super"


@pytest.fixture
def orin(machine):
    return machine(ORIN)


def test_firmware_that_ignores_requests_fails_by_name(orin):
    orin.kernel.devices["gpu"].firmware_ignores = True
    bench = self_test(orin, Plant(orin.kernel).load)
    assert verdicts(bench)["clock gpu by pin"] == "fail"
    assert "but the clock itself is at 306 MHz" in texts(bench)["clock gpu by pin"]
    assert verdicts(bench)["clock cpu0 by pin"] == "pass"
    assert bench.findings.has_failed
    assert verdicts(bench)["given back"] == "pass"


def test_clock_that_comes_too_late_fails(orin):
    orin.kernel.devices["policy0"].lag_s = 5.0
    bench = self_test(orin, Plant(orin.kernel).load)
    assert verdicts(bench)["clock cpu0 by pin"] == "fail"
    steps = [s for s in bench.findings.steps if s.domain == "cpu0" and s.hold == "pin"]
    assert any(step.seen_s is None for step in steps)


def test_refused_write_fails_with_its_sentence_and_the_others_are_tested(orin):
    plant = Plant(orin.kernel)
    bench = begin(orin, surroundings(orin, plant.load))
    step = orin.kernel.before_access

    def refusing(operation, path):
        step(operation, path)
        was_told = "clock cpu4 by cap" in verdicts(bench)
        if operation == "write" and path.endswith("policy4/scaling_max_freq") and not was_told:
            raise OSError(errno.EIO, "Input/output error", path)

    orin.kernel.before_access = refusing
    run(bench, lambda: None)
    assert verdicts(bench)["clock cpu4 by cap"] == "fail"
    assert "scaling_max_freq" in texts(bench)["clock cpu4 by cap"]
    assert verdicts(bench)["clock gpu by pin"] == "pass"


def test_limit_of_the_power_mode_is_no_failure_but_stands_in_the_steps(orin):
    bench = self_test(orin, Plant(orin.kernel).load)
    (step,) = [
        s
        for s in bench.findings.steps[-99:]
        if (s.domain, s.hold, s.end) == ("gpu", "pin", "highest")
    ][-1:]
    assert (step.requested_hz, step.applied_hz) == (1_020_000_000, 918_000_000)
    assert step.cause == "the power mode"


@pytest.mark.parametrize(
    ("code", "verdict"), [(errno.EREMOTEIO, "could not"), (errno.EAGAIN, "could not")]
)
def test_rail_that_never_answers_is_told(orin, code, verdict):
    chip = next(p for p in orin.kernel.glob("sys/class/hwmon/hwmon*/curr2_input"))
    orin.kernel.fails[chip] = code
    bench = self_test(orin, Plant(orin.kernel).load)
    assert verdicts(bench)["power"] == verdict
    assert "curr2_input" in texts(bench)["power"]


def test_rail_that_stops_answering_fails_with_its_reason(machine):
    sysfs = machine("rk3588")
    load = Plant(sysfs.kernel).load
    step = sysfs.kernel.before_access
    reads = []

    def failing(operation, path):
        step(operation, path)
        reads.append(path)
        if path.endswith("power1_input") and len([p for p in reads if p == path]) > 30:
            raise OSError(errno.EREMOTEIO, "Remote I/O error", path)

    sysfs.kernel.before_access = failing
    bench = self_test(sysfs, load)
    assert verdicts(bench)["rail ina226.power1"] == "fail"
    assert "reads failed" in texts(bench)["rail ina226.power1"]
    assert verdicts(bench)["given back"] == "pass"


def test_sensor_that_shows_the_same_whatever_happens_fails(orin):
    bench = self_test(orin)  # no load, no plant
    assert verdicts(bench)["power by cpu0"] == "fail"
    assert "the same whatever the machine does" in texts(bench)["power by cpu0"]


def test_power_that_falls_with_the_clock_fails(orin):
    plant = Plant(orin.kernel)
    share = plant._share
    plant._share = lambda: 1.5 - share()
    bench = self_test(orin, plant.load)
    assert verdicts(bench)["power by cpu0"] == "fail"
    assert "draws less" in texts(bench)["power by cpu0"]


def test_implausible_power_and_temperature_are_named(orin):
    orin.kernel.devices["VDD_SOC"].watts = 1e8
    zone = "cpu-thermal" if not orin.kernel.is_old else "CPU-therm"
    orin.kernel.devices[zone].temp_c = -274.0
    bench = self_test(orin)
    assert verdicts(bench)["power"] == "could not"
    assert "curr3_input" in texts(bench)["power"] or "VDD_SOC" in texts(bench)["power"]
    assert verdicts(bench)[f"zone thermal_zone0.{zone}"] == "fail"
    assert "no running chip" in texts(bench)[f"zone thermal_zone0.{zone}"]


def test_trips_and_what_they_are_bound_to_stand_in_the_file(orin):
    kernel = orin.kernel
    zone = next(z for z in kernel.glob("sys/class/thermal/thermal_zone*"))
    real = kernel.real_path(zone)
    alert = "sys/devices/virtual/thermal/cooling_device99"
    kernel.add({"type": "hot-surface-alert", "cur_state": 1, "max_state": 1}, alert)
    kernel.link(f"sys/class/thermal/{alert.rpartition('/')[2]}", alert)
    kernel.add({"trip_point_7_type": "passive", "trip_point_7_temp": 66_000}, real)
    kernel.add({"cdev77_trip_point": 7}, real)
    kernel.link(f"{real}/cdev77", alert)
    document = document_of(self_test(orin, Plant(kernel).load))
    facts = document["zones"][0]
    assert facts["limit_c"] > 66.0  # a trip that only warns is no limit
    trip = {"kind": "passive", "temperature_c": 66.0, "bound": ["hot-surface-alert"]}
    assert trip in facts["trips"]
    slowing = [t for t in facts["trips"] if t["temperature_c"] == facts["limit_c"]]
    assert len([kind for kind in slowing[0]["bound"] if "cpufreq" in kind]) == 2
    tree = document["tree"]
    assert tree["links"][f"{zone}/cdev77"] == alert
    assert tree["files"][f"{alert}/type"] == "hot-surface-alert\n"
    assert tree["files"][f"{real}/cdev77_trip_point"] == "7\n"
    assert "passive 66 C -> hot-surface-alert" in texts_of_zone(document)


def texts_of_zone(document: dict) -> str:
    return next(c["text"] for c in document["checks"] if c["name"].startswith("zone thermal_zone0"))


def test_power_mode_that_nvpmodel_calls_otherwise_fails(orin):
    orin.kernel.commands["nvpmodel -q"] = "NV Power Mode: MAXN_SUPER\n2\n"
    bench = self_test(orin, Plant(orin.kernel).load)
    assert verdicts(bench)["nvpmodel"] == "fail"
    assert "taken for 1 25W" in texts(bench)["nvpmodel"]


@pytest.mark.parametrize(
    ("shown_w", "verdict"),
    [({"VDD_IN": 4.9}, "pass"), ({"VDD_IN": 9.0}, "fail"), ({"5V": 3.0}, "could not")],
)
def test_power_by_jtop_is_compared(orin, shown_w, verdict):
    bench = self_test(orin, jtop_w=shown_w)
    assert verdicts(bench)["jtop"] == verdict
    assert document_of(bench)["jtop_w"] == shown_w


def test_jtop_that_does_not_answer_is_told(orin):
    def silent():
        raise SensorReadError("jtop has said nothing for 10 s")

    bench = begin(orin, replace(surroundings(orin), ask_jtop=silent))
    run(bench, lambda: None)
    assert (verdicts(bench)["jtop"], texts(bench)["jtop"]) == (
        ("could not", "jtop has said nothing for 10 s")
    )


@pytest.mark.parametrize("is_here", [True, False])
def test_jtop_is_asked_by_a_python_that_has_it_and_its_client_ends(orin, monkeypatch, is_here):
    asked = []

    class Client:
        def __init__(self, command):
            asked.append(command)

        def read_mw(self):
            return {"VDD_IN": 4900}

        def close(self):
            asked.append("closed")

    monkeypatch.setattr(other_checks, "JtopClient", Client)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: is_here or None)
    assert other_checks.jtop_power_w(orin) is None  # no live machine
    monkeypatch.setattr(type(orin), "is_live", property(lambda self: True))
    assert other_checks.jtop_power_w(orin) is None  # no service
    orin.kernel.add({"run/jtop.sock": ""})
    assert other_checks.jtop_power_w(orin) == {"VDD_IN": 4.9}
    assert asked == [(sys.executable if is_here else "/usr/bin/python3",), "closed"]


def test_other_programs_and_throttling_are_told(orin):
    start_daemon(orin.kernel, "tuned")
    zone = orin.kernel.devices["cpu-thermal" if not orin.kernel.is_old else "CPU-therm"]
    plant = Plant(orin.kernel)
    heated = []

    def pause(seconds):
        orin.kernel.sleep(seconds)
        if not heated and orin.kernel.now_s > 1030.0:
            heated.append(True)
            zone.heat_to(103.0)
        return False

    bench = self_test(orin, plant.load, pause=pause)
    assert verdicts(bench)["other programs"] == "could not"
    assert "TuneD" in texts(bench)["other programs"]
    assert verdicts(bench)["slowed down"] == "could not"
    assert "cool" in texts(bench)["slowed down"] or "cpu" in texts(bench)["slowed down"]
    assert document_of(bench)["throttled"]["before"] == []


def test_machine_that_is_not_as_it_was_fails_with_file_and_both_values(orin):
    plant = Plant(orin.kernel)
    done = []

    def pause(seconds):
        orin.kernel.sleep(seconds)
        if not done and orin.kernel.now_s > 1020.0:
            done.append(
                orin.kernel.attribute("sys/devices/system/cpu/cpufreq/policy0/scaling_governor")
            )
            done[0].write("performance")
        return False

    bench = self_test(orin, plant.load, pause=pause)
    assert verdicts(bench)["given back"] == "fail"
    text = texts(bench)["given back"]
    assert "policy0/scaling_governor was 'schedutil' and is 'performance'" in text


def test_thermal_cap_at_the_end_is_no_failure_of_giving_back(machine):
    sysfs = machine("jetson-orin-nx")
    zone = sysfs.kernel.devices["cpu-thermal" if not sysfs.kernel.is_old else "CPU-therm"]
    plant = Plant(sysfs.kernel)

    def pause(seconds):
        sysfs.kernel.sleep(seconds)
        if sysfs.kernel.now_s > 1100.0:
            zone.heat_to(103.0)
        return False

    bench = self_test(sysfs, plant.load, pause=pause)
    assert verdicts(bench)["given back"] == "could not"
    assert "cools" in texts(bench)["given back"]
    zone.heat_to(40.0)


def test_part_that_cannot_be_gone_through_fails_and_the_rest_follows(orin, monkeypatch):
    def broken(bench):
        raise SensorReadError("policy0 holds nonsense")

    parts = [(n, broken if n == "clocks by cap" else part) for n, part in command.PARTS]
    monkeypatch.setattr(command, "PARTS", parts)
    bench = self_test(orin, Plant(orin.kernel).load)
    assert (verdicts(bench)["clocks by cap"], texts(bench)["clocks by cap"]) == (
        ("fail", "policy0 holds nonsense")
    )
    assert verdicts(bench)["clock cpu0 by pin"] == "pass"
    assert verdicts(bench)["given back"] == "pass"


def test_shunt_that_is_the_drivers_default_is_doubted(machine):
    bench = self_test(machine("rk3588"))
    assert verdicts(bench)["doubts"] == "could not"
    assert "shunt of 10 mOhm" in texts(bench)["doubts"]


def test_clock_that_is_left_out_is_told(machine):
    sysfs = machine("rk3588")
    npu = "sys/devices/platform/fdab0000.npu/devfreq/fdab0000.npu/available_frequencies"
    sysfs.kernel.fails[npu] = errno.EIO
    bench = self_test(sysfs, Plant(sysfs.kernel).load)
    assert verdicts(bench)["left out"] == "could not"
    assert "npu" in texts(bench)["left out"]
    assert "clock npu by cap" not in verdicts(bench)
    assert verdicts(bench)["clock gpu by cap"] == "pass"


def test_board_that_cannot_be_opened_still_leaves_a_file_with_the_reason(machine, monkeypatch):
    sysfs = machine("raspberry-pi-4")

    def refuse(self):
        raise SensorReadError("policy0 holds nonsense")

    monkeypatch.setattr(LinuxBoard, "_find", refuse)
    bench = self_test(sysfs)
    assert texts(bench)["opening the board"] == "policy0 holds nonsense"
    assert verdicts(bench)["clocks by cap"] == "fail"
    assert len(document_of(bench)["tree"]["files"]) > 30


def test_file_says_what_was_done_and_with_what(orin):
    document = document_of(self_test(orin, Plant(orin.kernel).load))
    assert document["format"] == 1
    assert document["versions"]["kernel"].endswith("-tegra")
    assert {"python", "numpy", "machine"} <= set(document["versions"])
    assert "numpy" in document["load"]
    assert document["total"] == ["VDD_IN"]
    assert document["settings"]["before"] == document["settings"]["after"]
    assert len(document["settings"]["before"]) > 15
    keys = [(w["domain"], w["end"], w["is_loaded"]) for w in document["windows"]]
    assert len(keys) == len(set(keys)) == 4 * 4
    for window in document["windows"]:
        assert {"energy_j", "duration_s", "uncertainty_j", "mean_w"} <= set(window["reading"])
    assert json.dumps(document).count("nvpmodel") > 1
    assert "commands/nvpmodel -q" in document["tree"]["files"]


def test_one_hold_can_be_tested_alone(orin):
    bench = begin(orin, surroundings(orin, Plant(orin.kernel).load))
    check_clocks(bench, Hold.CAP)
    assert {step.hold for step in bench.findings.steps} == {"cap"}
