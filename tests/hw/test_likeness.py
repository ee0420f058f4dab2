"""Which device models a machine is like, and device files for machines that are like none."""

from __future__ import annotations

import re

import pytest

from hw.base import Cause
from hw.boards.device_view import DeviceView
from hw.boards.linux import LinuxBoard
from hw.describe import describe, main, most_alike
from hw.device.match import devices_like
from hw.device.model import DeviceModel
from hw.doctor.__main__ import Style, report
from hw.doctor.survey import survey
from hw.errors import UnsupportedError
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS, build_x86_acpi_boost

LIKE = {
    "jetson-nano": "nano",
    "jetson-tx2": "tx2",
    "jetson-xavier-nx": "xavier-nx",
    "jetson-orin-nano": "orin-nano",
    "jetson-orin-nano-super": "orin-nano-super",
    "jetson-agx-orin": "agx-orin",
    "raspberry-pi-4": "pi4",
}


@pytest.fixture
def sysfs(tmp_path):
    def build(name: str) -> FakeSysfs:
        return FakeSysfs(BOARDS[name]("old"), tmp_path)

    return build


@pytest.mark.parametrize(("machine", "device"), LIKE.items())
def test_machine_is_like_its_model(sysfs, machine, device):
    found = survey(sysfs(machine))
    assert devices_like(found.clocks, found.boards)[0] == device
    lines = "\n".join(report(found, Style(coloured=False)))
    assert f"python train.py --device {device}" in lines


def test_pc_is_like_no_board_though_its_clocks_end_where_those_of_one_do(sysfs, tmp_path):
    laptop = FakeSysfs(build_x86_acpi_boost("old"), tmp_path)
    for machine in (laptop, sysfs("x86-acpi"), sysfs("x86-intel"), sysfs("x86-amd")):
        found = survey(machine)
        assert devices_like(found.clocks, found.boards) == ()
        lines = "\n".join(report(found, Style(coloured=False)))
        assert "python -m hw.describe" in lines
    # What tells them apart is not the clocks.
    assert devices_like(survey(laptop).clocks, ("raspberrypi,4-model-b",)) == ("pi4",)


def test_machine_without_a_model_is_told_how_to_describe_it(sysfs):
    found = survey(sysfs("rk3588"))  # the GPU's clock can be set, unlike the model's
    assert devices_like(found.clocks, found.boards) == ()
    lines = "\n".join(report(found, Style(coloured=False)))
    assert "python -m hw.describe" in lines


@pytest.mark.parametrize("name", ["jetson-orin-nano-super", "jetson-orin-nx", "rk3588"])
def test_described_machine_can_be_taken_for_its_description(sysfs, tmp_path, recorded, name):
    out = tmp_path / "mine.toml"
    tree = recorded(name)
    assert main(["--root", str(tree), "--like", "orin-nano", "--out", str(out)]) == 0
    device = DeviceModel.load(out)
    assert (device.name, device.validated_on) == ("mine", ())
    assert all(
        it.measured.startswith("on NVIDIA Jetson Orin Nano 8 GB: ")
        for it in device.runtimes.values()
    )
    assert device.max_power_w > DeviceModel.load("orin-nano").power.board_w
    with DeviceView(LinuxBoard(sysfs(name), sleep=lambda _: None), device) as board:
        for kind in device.settable:
            top_hz = board.domains[kind].available_hz[-1]
            lowered = board.apply({kind: top_hz})[kind] < top_hz
            assert lowered == (board.applied[kind].cause is Cause.POWER_MODE)


def test_what_cannot_be_set_stays_at_one_point(sysfs):
    document = describe(survey(sysfs("raspberry-pi-5")), "orin-nano", "pi5")
    assert len(document["domains"]["cpu"]["available_hz"]) > 1
    assert [len(document["domains"][kind]["available_hz"]) for kind in ("gpu", "emc")] == [1, 1]


def test_nothing_alike_and_none_named_is_an_error(sysfs):
    with pytest.raises(UnsupportedError, match="name one by --like"):
        most_alike(survey(sysfs("rk3588")))


@pytest.mark.parametrize(
    ("machine", "like", "said"),
    [
        ("jetson-tx2", "tx2", None),
        ("rk3588", "orin-nano", "warning: .* hardly alike: the cpu goes up to 2"),
        ("raspberry-pi-5", "orin-nano", "the gpu's clock cannot be set here, but on orin-nano"),
        ("jetson-tx2", "pi4", "the gpu's clock can be set here, but not on pi4"),
    ],
)
def test_machines_that_are_hardly_alike_are_told(recorded, tmp_path, capsys, machine, like, said):
    out = tmp_path / "mine.toml"
    assert main(["--root", str(recorded(machine)), "--like", like, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert ("warning" in told) == (said is not None)
    assert said is None or re.search(said, told)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "mine.txt"], "ends in .toml"),
        (["--out", "/nowhere/mine.toml", "--like", "tx2"], "cannot write"),
        (["--out", "mine.toml", "--like", "tx9"], "'tx9'"),
    ],
)
def test_bad_input_ends_in_one_sentence(recorded, capsys, options, message):
    assert main(["--root", str(recorded("jetson-tx2")), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
