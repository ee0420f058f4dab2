"""What the firmware does behind the kernel's back is seen while the board runs, and told."""

from __future__ import annotations

import pytest

from hw.base import Applied, Cause
from hw.sensors.firmware import LOOK_EVERY_S, pi_bits

PI_FILE = "sys/devices/platform/soc/soc:firmware/get_throttled"
TOP_HZ = 2_400_000_000


@pytest.fixture
def pi(machine, open_linux):
    """An open Raspberry Pi 5 at its highest clock."""
    board = open_linux(machine("raspberry-pi-5"))
    board.kernel = board._sysfs.kernel
    board.apply({"cpu": TOP_HZ})
    assert board.applied["cpu"] == Applied(TOP_HZ, TOP_HZ, None)
    return board


def slow(kernel, bits, measured_hz=None):
    kernel.commands["vcgencmd get_throttled"] = f"throttled={bits:#x}\n"
    if measured_hz is not None:
        kernel.commands["vcgencmd measure_clock arm"] = f"frequency(0)={measured_hz}\n"
    kernel.sleep(LOOK_EVERY_S)


def test_pi_that_its_firmware_slows_says_so_with_the_clock_that_it_measured(pi, caplog):
    slow(pi.kernel, 0x50005, 1_500_019_456)
    for act in (pi.verify, lambda: pi.apply({"cpu": TOP_HZ})):
        assert act() == {"cpu": 1_500_019_456}
        assert pi.applied["cpu"] == Applied(TOP_HZ, 1_500_019_456, Cause.FIRMWARE)
    slow(pi.kernel, 0x50000)
    assert pi.verify() == {"cpu": TOP_HZ}
    assert pi.applied["cpu"].cause is None
    told = [r.message for r in caplog.records if r.message.startswith("the firmware")]
    assert told == [
        "the firmware slows this board down: supply voltage is too low, slowed down",
        "the firmware slows this board down no more",
    ]


def test_pi_whose_clock_cannot_be_measured_is_slow_all_the_same(pi):
    slow(pi.kernel, 0x8)
    pi.verify()
    assert pi.applied["cpu"] == Applied(TOP_HZ, TOP_HZ, Cause.FIRMWARE)


@pytest.mark.parametrize("bits", [0x0, 0x1, 0x50000, 0xF0000])
def test_what_is_over_and_a_low_supply_alone_slow_nothing(pi, bits):
    slow(pi.kernel, bits)
    pi.verify()
    assert pi.applied["cpu"].cause is None


def test_no_process_is_started_at_every_step(pi):
    asked = []

    def answer():
        asked.append(pi.kernel.now_s)
        return "throttled=0x0\n"

    pi.kernel.commands["vcgencmd get_throttled"] = answer
    for _ in range(80):
        pi.verify()
        pi.kernel.sleep(0.25)
    assert len(asked) <= 20 / LOOK_EVERY_S + 1


def test_file_of_the_makers_kernel_is_read_instead_of_a_process(pi):
    pi.kernel.commands["vcgencmd get_throttled"] = lambda: pytest.fail("a process")
    pi.kernel.add({PI_FILE: "50005"})
    assert pi_bits(pi._sysfs) == 0x50005


def test_chip_of_the_kernel_tells_a_low_supply_where_nothing_else_does(machine):
    sysfs = machine("raspberry-pi-5")
    del sysfs.kernel.commands["vcgencmd get_throttled"]
    (chip,) = [
        path.rpartition("/")[0]
        for path in sysfs.kernel.glob("sys/class/hwmon/hwmon*/name")
        if sysfs.kernel.read(path) == "rpi_volt\n"
    ]
    assert pi_bits(sysfs) == 0
    sysfs.kernel.set(f"{chip}/in0_lcrit_alarm", 1)
    assert pi_bits(sysfs) == 0x1


def test_orin_whose_current_is_too_high_says_so_while_its_counter_grows(
    machine, open_linux, caplog
):
    sysfs = machine("jetson-orin-nano")
    kernel = sysfs.kernel
    (counter,) = kernel.glob("sys/class/hwmon/hwmon*/oc3_event_cnt")
    kernel.set(counter, 4711)  # long ago
    board = open_linux(sysfs)
    highest = {name: domain.available_hz[-1] for name, domain in board.domains.items()}
    board.apply(highest)
    before = {name: applied.cause for name, applied in board.applied.items()}
    assert Cause.FIRMWARE not in before.values()
    kernel.set(counter, 4712)
    kernel.sleep(LOOK_EVERY_S)
    board.verify()
    held = {name for name, applied in board.applied.items() if applied.cause is Cause.FIRMWARE}
    assert held == {name for name, cause in before.items() if cause is None and name != "emc"}
    assert "the firmware slows this board down: momentary current too high" in caplog.text
    kernel.sleep(LOOK_EVERY_S)
    board.verify()
    assert {name: applied.cause for name, applied in board.applied.items()} == before
