"""The board, the session and the doctor over real drivers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hw.base import Applied, Cause, Hold
from hw.boards.linux import LinuxBoard
from hw.errors import BusyError, PermissionDeniedError
from hw.session.journal import Journal
from hw.session.session import restore_journal
from hw.sysfs import Sysfs
from tests.kernel.guest.machine import (
    CPU_HZ,
    EMC,
    EMC_HZ,
    GPU,
    GPU_HZ,
    SWITCHES,
    TEMPERATURE,
    cooling_devices,
    limits,
    policies,
    read,
    settles,
    write,
)

N_KILLS = 50
N_STEPS = 200
LIMIT_C = 85.0
NOBODY = 65534
JOURNAL = Path("/var/lib/dvfo/journal.jsonl")


def snapshot() -> dict[str, str]:
    """Every attribute that the board may write."""
    files = [p / f"scaling_{n}" for p in policies() for n in ("min_freq", "max_freq", "governor")]
    files += [d / name for d in (GPU, EMC) for name in ("min_freq", "max_freq", "governor")]
    return {str(file): read(file) for file in files}


def open_board(hold: Hold = Hold.PIN, **options) -> LinuxBoard:
    board = LinuxBoard(Sysfs(), hold=hold, **options)
    board.open()
    return board


def draw(board, choose: random.Random) -> dict[str, int]:
    return {name: choose.choice(d.available_hz) for name, d in board.domains.items()}


# What is found


def test_clocks_rails_and_temperature_are_found():
    with open_board() as board:
        tables = {name: domain.available_hz for name, domain in board.domains.items()}
        assert tables == {"cpu0": CPU_HZ, "cpu1": CPU_HZ, "gpu": GPU_HZ, "emc": EMC_HZ}
        assert {"VDD_IN", "VDD_SYS_GPU", "VDD_SYS_CPU"} <= set(board.power_sensors)
        assert board.power.total.rails == ("VDD_IN",)
        assert board.temperature_limit_c == LIMIT_C
        assert board.temperature_c() == 40.0


def test_board_runs_at_full_speed_above_a_trip_that_only_warns():
    with open_board() as board:
        highest = {name: domain.available_hz[-1] for name, domain in board.domains.items()}
        write(TEMPERATURE, 75_000)
        assert board.apply(highest) == highest
        assert {applied.cause for applied in board.applied.values()} == {None}
        write(TEMPERATURE, 84_000)
        lowest = board.apply(highest)
        assert all(lowest[name] < hz for name, hz in highest.items())
        assert {applied.cause for applied in board.applied.values()} == {Cause.GUARD}
    write(TEMPERATURE, 40_000)


def test_alert_is_no_reason_for_slow_clocks():
    from hw.doctor.throttle import throttle_reasons

    (alert,) = cooling_devices("hot-surface-alert")
    write(alert / "cur_state", 1)
    assert throttle_reasons(Sysfs()) == []
    write(alert / "cur_state", 0)


def test_doctor_tells_the_same():
    command = [sys.executable, "-m", "hw.doctor"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for word in ("cpu0", "cpu1", "gpu", "emc", "VDD_IN", "plant-thermal", "slows down at 85.0 C"):
        assert word in report
    found = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
    assert {clock["name"]: len(clock["available_hz"]) for clock in found["clocks"]} == {
        "cpu0": 5,
        "cpu1": 5,
        "gpu": 13,
        "emc": 8,
    }


def test_recorded_machine_reads_the_same(tmp_path):
    from hw.doctor.record import record
    from hw.doctor.survey import survey

    tree = tmp_path / "tree"
    record(Sysfs(), tree)
    here, there = survey(Sysfs()), survey(Sysfs(tree))
    assert [c.available_hz for c in there.clocks] == [c.available_hz for c in here.clocks]
    assert [z.limit_c for z in there.zones] == [z.limit_c for z in here.zones]
    assert [r.name for r in there.rails] == [r.name for r in here.rails]


# Clocks


@pytest.mark.parametrize("hold", list(Hold))
def test_every_operating_point_is_reached_and_everything_is_given_back(hold):
    before = snapshot()
    with open_board(hold) as board:
        for name, domain in board.domains.items():
            for hz in (*domain.available_hz, *reversed(domain.available_hz)):
                assert board.apply({name: hz}) == {name: hz}
                assert board.applied[name].cause is None, (name, hz)
                if hold is not Hold.CAP:
                    assert settles(domain.read_hz, hz), (name, hz, domain.read_hz())
        assert snapshot() != before
    assert snapshot() == before


def test_thermal_cap_of_the_kernel_is_named_and_not_baked_in():
    before = snapshot()
    cooling = cooling_devices()[0]
    with open_board(domains=["cpu0"]) as board:
        board.apply({"cpu0": CPU_HZ[-1]})
        write(cooling / "cur_state", 2)
        assert settles(lambda: board.verify() and board.applied["cpu0"].cause, Cause.THERMAL)
        assert board.applied["cpu0"].applied_hz < CPU_HZ[-1]
        write(cooling / "cur_state", 0)
        assert settles(lambda: board.verify()["cpu0"], CPU_HZ[-1])
        write(cooling / "cur_state", 2)
    write(cooling / "cur_state", 0)
    assert settles(snapshot, before)
    write(cooling / "cur_state", 3)  # saved while it is capped
    assert settles(lambda: snapshot() != before, True)
    with open_board(domains=["cpu0"]) as board:
        board.apply({"cpu0": CPU_HZ[0]})
    write(cooling / "cur_state", 0)
    assert settles(snapshot, before)


@pytest.mark.parametrize("switch", ["refuse", "cap_hz"])
def test_firmware_that_drops_a_request_in_silence_is_named(switch):
    with open_board(domains=["gpu"]) as board:
        board.apply({"gpu": GPU_HZ[3]})
        assert settles(board.domains["gpu"].read_hz, GPU_HZ[3])
        write(SWITCHES / GPU.name / switch, "Y" if switch == "refuse" else GPU_HZ[3])
        assert board.apply({"gpu": GPU_HZ[9]}) == {"gpu": GPU_HZ[9]}
        time.sleep(0.1)
        board.verify()
        assert board.applied["gpu"] == Applied(GPU_HZ[9], GPU_HZ[3], Cause.FIRMWARE)


def test_clock_that_takes_its_time_is_no_refusal():
    with open_board(domains=["gpu"]) as board:
        write(SWITCHES / GPU.name / "delay_ms", 30)
        board.apply({"gpu": GPU_HZ[5]})
        assert board.applied["gpu"].cause is None
        assert settles(board.domains["gpu"].read_hz, GPU_HZ[5])
        board.verify()
        assert board.applied["gpu"] == Applied(GPU_HZ[5], GPU_HZ[5])


def test_rival_that_writes_in_between_wins_and_is_respected():
    with open_board(domains=["cpu1", "gpu"]) as board:
        board.apply({"cpu1": CPU_HZ[3], "gpu": GPU_HZ[7]})
        rival = policies()[1]
        write(rival / "scaling_min_freq", CPU_HZ[0] // 1000)
        write(rival / "scaling_max_freq", CPU_HZ[1] // 1000)
        theirs = (CPU_HZ[0] // 1000, CPU_HZ[1] // 1000)
        assert settles(lambda: limits(rival), theirs)
        board.apply({"cpu1": CPU_HZ[4], "gpu": GPU_HZ[2]})
        assert board.applied["cpu1"] == Applied(CPU_HZ[4], CPU_HZ[1], Cause.PROGRAM)
        assert board.applied["gpu"].cause is None
        board.apply({"cpu1": CPU_HZ[4]})
        assert limits(rival) == theirs
    assert limits(rival) == theirs


def test_hot_machine_is_only_slowed_down():
    with open_board() as board:
        top = {name: domain.available_hz[-1] for name, domain in board.domains.items()}
        board.apply({name: domain.available_hz[2] for name, domain in board.domains.items()})
        write(TEMPERATURE, round(1000 * (LIMIT_C - 4)))
        held = board.apply(top)
        assert held == {name: domain.available_hz[2] for name, domain in board.domains.items()}
        assert {applied.cause for applied in board.applied.values()} == {Cause.GUARD}
        write(TEMPERATURE, round(1000 * (LIMIT_C - 1)))
        lower = board.apply(top)
        assert all(lower[name] < held[name] for name in held)
        write(TEMPERATURE, 40_000)
        assert board.apply(top) == top


# Energy


def test_energy_of_a_window_is_the_models_within_the_uncertainty_told(plant):
    from hw.device.model import DeviceModel

    device = DeviceModel.load("tx2")
    plant(gpu_util=0.8)
    with open_board() as board:
        board.apply({"cpu0": CPU_HZ[2], "cpu1": CPU_HZ[2], "gpu": GPU_HZ[6], "emc": EMC_HZ[-1]})
        time.sleep(0.5)
        board.begin_window()
        time.sleep(1.0)
        reading = board.end_window()
    watt = device.power.total_w(
        CPU_HZ[2], GPU_HZ[6], EMC_HZ[-1], cpu_util=0.0, gpu_util=0.8, traffic_bytes_per_s=0.0
    )
    assert reading.n_samples > 5
    assert 0.0 < reading.uncertainty_j < 0.1 * reading.energy_j
    # The driver rounds currents to whole mA beside the chip's own step.
    assert abs(reading.energy_j - float(watt) * reading.duration_s) <= (
        reading.uncertainty_j + 0.02 * reading.duration_s
    )


# A policy in charge


def test_frozen_policy_drives_200_control_steps(plant, capfd):
    import numpy as np

    from agents.policy.frozen import FrozenPolicy
    from agents.policy.metadata import PolicyMetadata
    from envs.plant import Axis, Layout
    from envs.spaces import observation_fields

    before = snapshot()
    plant(gpu_util=0.6, cpu_util=0.3)
    with open_board() as board:
        axes = [Axis(n, tuple(map(float, d.available_hz))) for n, d in board.domains.items()]
        layout = Layout(
            "linux", board.fingerprint, "none", "none", (*axes, Axis("split", (0.0, 1.0))), 15.0
        )
        fields = observation_fields(layout)
        sizes = sum(len(axis.values) for axis in layout.axes)
        weights = np.random.default_rng(0).normal(size=(sizes, len(fields))).astype(np.float32)
        metadata = PolicyMetadata("ppo", layout, fields, activation="relu", head="categorical")
        policy = FrozenPolicy(metadata, [(weights, np.zeros(sizes, np.float32))])
        observation = np.zeros(len(fields), np.float32)
        chosen, times_s, powers_w = set(), [], []
        for step in range(N_STEPS):
            indices = policy.decide(observation[None])[0, :-1]
            wanted = {a.name: int(a.values[i]) for a, i in zip(axes, indices, strict=True)}
            board.begin_window()
            began_s = time.perf_counter()
            applied = board.apply(wanted)
            times_s.append(time.perf_counter() - began_s)
            time.sleep(0.05)
            assert board.verify() == applied == wanted
            power_w = board.end_window()
            powers_w.append(power_w.energy_j / power_w.duration_s)
            chosen.add(tuple(wanted.values()))
            margin_c = board.margin_c()
            state = [powers_w[-1] / 10, margin_c / 50, *(hz / 2e9 for hz in applied.values())]
            # A policy that moves, and finds no point to rest at.
            observation[-len(state) :] = np.sin(40.0 * np.array(state) + step)
    assert snapshot() == before
    assert len(chosen) > 20
    assert max(powers_w) > min(powers_w) + 1.0
    with capfd.disabled():
        middle_ms = 1e3 * sorted(times_s)[N_STEPS // 2]
        print(f"\n{N_STEPS} steps, {len(chosen)} operating points, {middle_ms:.1f} ms a change")


# Death and rights


def drive_for_ever(seed: int, ready: int) -> None:
    """A controller that never stops by itself, in a forked process."""
    choose = random.Random(seed)
    with open_board(choose.choice(list(Hold))) as board:
        os.write(ready, b"1")
        while True:
            board.apply(draw(board, choose))
            board.verify()


def start(seed: int) -> int:
    """Fork a controller and wait until it has opened its board."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            drive_for_ever(seed, writer)
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"1"
    os.close(reader)
    return child


def give_back() -> int:
    sysfs = Sysfs()
    journal = Journal.of_machine(sysfs)
    journal.lock()
    try:
        return restore_journal(sysfs, journal)
    finally:
        journal.unlock()
        sysfs.close()


def test_killed_at_50_moments_the_machine_comes_back_as_it_was():
    before = snapshot()
    choose = random.Random(1)
    n_changed = 0
    for seed in range(N_KILLS):
        child = start(seed)
        time.sleep(choose.uniform(0.0, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        n_changed += snapshot() != before
        give_back()
        assert settles(snapshot, before), seed
        assert not JOURNAL.exists()
    assert n_changed > N_KILLS // 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_give_the_machine_back(number):
    before = snapshot()
    child = start(7)
    time.sleep(0.1)
    os.kill(child, number)
    os.waitpid(child, 0)
    assert settles(snapshot, before)
    assert not JOURNAL.exists()


def test_command_restores_after_a_kill_and_leaves_a_living_controller_alone():
    before = snapshot()
    child = start(3)
    time.sleep(0.1)
    command = [sys.executable, "-m", "hw.restore"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "stop that first" in refused.stderr
    with pytest.raises(BusyError, match=f"process {child}|process {os.getpid()}"):
        open_board()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "restored" in done.stdout
    assert settles(snapshot, before)


def test_user_without_rights_is_told_which_files(tmp_path):
    before = snapshot()
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if parent != Path("/") and parent.owner() == "root" and parent != Path("/tmp"):
            parent.chmod(0o755)
    child = os.fork()
    if child == 0:
        os.setuid(NOBODY)
        try:
            open_board(journal=tmp_path)
        except PermissionDeniedError as error:
            message = str(error)
        else:
            message = "opened"
        os.write(2, message.encode())
        told = "scaling_max_freq" in message and "run as root" in message
        os._exit(0 if told else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert snapshot() == before
