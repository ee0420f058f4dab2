"""Nothing private leaves a machine, wherever it stands; what tests need stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hw.doctor.privacy import Secrets, program_alone
from hw.doctor.record import record
from hw.doctor.tree import Tree
from hw.selftest.findings import Verdict
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.attribute import Text
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.plant import Plant
from tests.hw.fake.replay import replay
from tests.hw.fake.system import start_daemon, start_program
from tests.hw.selftest.bench import document_of, self_test, verdicts

SERIAL, HOST, USER = "1422719123456", "workbench-7", "alicia"
MACHINE_ID = "0f8fad5bd9cb469fa16570867728950e"
UUID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
CARD = "GPU-d1b2c3a4-0011-2233-4455-66778899aabb"
MAC, MAC_2 = "48:b0:2d:15:9c:fe", "3C-6D-66-01-02-0A"
BATTERY, DISK = "SN-0815-ZZ", "S4EWNX0M123456"
SECRETS = (SERIAL, HOST, USER, MACHINE_ID, UUID, CARD, MAC, MAC_2, BATTERY, DISK)
EVERYTHING = " ".join(SECRETS)


def plant_secrets(kernel) -> None:
    """Every secret where the system has it, and all of them wherever a driver could print them."""
    kernel.add(
        {
            "etc/hostname": HOST,
            "etc/machine-id": MACHINE_ID,
            "proc/sys/kernel/hostname": HOST,
            f"home/{USER}/.profile": "",
            "sys/class/net/eth0/address": MAC,
            "sys/class/dmi/id/product_serial": SERIAL,
            "sys/class/dmi/id/product_uuid": UUID,
            "sys/class/dmi/id/board_serial": SERIAL,
            "sys/class/block/nvme0n1/device/serial": DISK,
            "sys/class/power_supply/BAT7/type": "Battery",
            "sys/class/power_supply/BAT7/serial_number": BATTERY,
            "sys/class/power_supply/BAT7/uevent": f"POWER_SUPPLY_SERIAL_NUMBER={BATTERY}",
            "sys/class/power_supply/BAT7/model_name": EVERYTHING,
            f"sys/class/power_supply/hid-{MAC}-battery/type": "Battery",
            f"sys/class/power_supply/hid-{MAC}-battery/scope": "Device",
            f"sys/class/power_supply/hid-{MAC}-battery/model_name": f"{USER}'s mouse",
            f"sys/class/power_supply/wacom-{MAC}/online": 1,
        }
    )
    chip = kernel.real_path(kernel.glob("sys/class/hwmon/hwmon*")[0])
    kernel.add({"device_uuid": UUID, "unique_id": SERIAL, "temp9_label": EVERYTHING}, chip)
    zone = kernel.real_path(kernel.glob("sys/class/thermal/thermal_zone*")[0])
    kernel.add({"emul_label": EVERYTHING.upper()}, zone)
    policy = kernel.real_path("sys/devices/system/cpu/cpufreq/policy0")
    kernel.add({"comment": f"/home/{USER}/{HOST}/x /home/bob/y {EVERYTHING}"}, policy)
    if "proc/device-tree" in kernel.glob("proc/device-tree"):
        kernel.add({f"{kernel.real_path('proc/device-tree')}/serial-number": Text(SERIAL, "\0")})
    kernel.commands["vcgencmd get_throttled"] = f"throttled=0x0\n{EVERYTHING}\n"
    start_program(kernel, ("/usr/bin/ssh", f"{USER}@{HOST}"))
    start_program(
        kernel, (f"/home/{USER}/venv/bin/python", f"/home/{USER}/auto-cpufreq", f"--log={HOST}")
    )
    start_daemon(kernel, "tlp")


def secrets_in(text: str) -> list[str]:
    return [secret for secret in (*SECRETS, "bob") if secret.lower() in text.lower()]


@pytest.mark.parametrize("name", ["jetson-orin-nano-super", "raspberry-pi-5", "x86-intel"])
def test_no_secret_is_in_the_file_and_it_still_replays(machine, tmp_path, name):
    sysfs = machine(name)
    plant_secrets(sysfs.kernel)
    bench = self_test(sysfs, Plant(sysfs.kernel).load)
    bench.note("x", Verdict.PASSED, f"{EVERYTHING} happened")
    bench.findings.warnings = [f"/home/{USER}/x said {EVERYTHING}"]
    bench.findings.jtop_w = {f"rail {SERIAL}": 1.0}
    document = document_of(bench)
    assert secrets_in(json.dumps(document)) == []
    assert "removed happened" in json.dumps(document)
    assert verdicts(bench)["other programs"] == "could not"  # it was found, and is in the tree
    files = document["tree"]["files"]
    commands = {text for path, text in files.items() if path.endswith("cmdline")}
    assert commands == {"python\0auto-cpufreq", "python3\0tlp-pd"}
    assert not [path for path in files if "hid-" in path]
    bench.findings.checks.pop()
    kernel, power = replay(document)
    again = self_test(FakeSysfs(kernel, tmp_path / "again"), power.load)
    assert verdicts(again) == verdicts(bench)


def test_doctors_recorded_tree_holds_no_secret_either(tmp_path):
    kernel = BOARDS["x86-intel"]("new")
    plant_secrets(kernel)
    record(FakeSysfs(kernel, Path("/nowhere")), tmp_path / "tree")
    for path in (tmp_path / "tree").rglob("*"):
        assert secrets_in(str(path.relative_to(tmp_path))) == []
        if path.is_file():
            assert secrets_in(path.read_text()) == [], path


def test_caller_of_sudo_is_removed_on_a_live_machine(monkeypatch, machine):
    sysfs = machine("raspberry-pi-4")
    monkeypatch.setenv("SUDO_USER", "berta")
    assert Secrets.of(sysfs).removed_from("/srv/berta/x") == "/srv/berta/x"
    monkeypatch.setattr(type(sysfs), "is_live", property(lambda self: True))
    assert Secrets.of(sysfs).removed_from("/srv/berta/x") == "/srv/removed/x"


@pytest.mark.parametrize(
    "text",
    [
        "12345 115200 1344000000",
        "thermal-devfreq-3 17000000.gpu 0000:01:00.0",
        "throttled=0x50005",
        "2035200 1958400 1881600",
        "1:3:5 0-3,6",
        "user_space step_wise userspace",
        "c240000.i2c 1-0040",
    ],
)
def test_what_the_kernel_says_stays(machine, text):
    kernel_sysfs = machine("raspberry-pi-4")
    plant_secrets(kernel_sysfs.kernel)
    kernel_sysfs.kernel.add({"home/user/x": ""})
    assert Secrets.of(kernel_sysfs).removed_from(text) == text


def test_name_that_is_also_the_boards_stays(machine):
    sysfs = machine("jetson-orin-nx")
    sysfs.kernel.add({"etc/hostname": "nvidia", "home/tegra234/x": ""})
    text = "nvidia,p3768-0000 nvidia,tegra234"
    assert Secrets.of(sysfs).removed_from(text) == text


@pytest.mark.parametrize("left_in", ["Default string", "0000000000", "00:00:00:00:00:00", "None"])
def test_text_that_a_maker_left_in_is_no_serial(machine, left_in):
    sysfs = machine("x86-amd")
    sysfs.kernel.add({"sys/class/dmi/id/product_serial": left_in})
    text = "0000000000 Default string None"
    assert Secrets.of(sysfs).removed_from(text) == text


def test_command_line_keeps_program_and_script_alone():
    line = "/home/x/bin/python3\0-Es\0/home/x/auto-cpufreq\0--daemon\0--password=1"
    assert program_alone(line) == "python3\0auto-cpufreq"
    assert program_alone("/usr/sbin/thermald\0--adaptive") == "thermald"
    assert program_alone("/usr/sbin/nvpmodel\0tok_ABCDEF123") == "nvpmodel"
    assert program_alone("/usr/bin/lact\0--key\0tok_LACT123") == "lact"
    assert program_alone("/usr/bin/python3\0-W\0secret\0/usr/bin/jtop") == "python3"


def test_serial_number_in_the_name_of_a_supply_goes_and_the_model_stays(machine):
    sysfs = machine("x86-intel")
    folder = "sys/class/power_supply/ucsi"
    sysfs.kernel.add({f"{folder}/model_name": "usb-ACME_L19M4PC0_SN0123456789-if00"})
    secrets = Secrets.of(sysfs)
    assert secrets.removed_from("usb-ACME L19M4PC0 SN0123456789-if00").split() == [
        "usb-ACME",
        "L19M4PC0",
        "removed-if00",
    ]


def test_values_and_keys_of_any_depth_are_cleaned():
    value = {"a ab:cd:ef:01:23:45": [("x", {"k": UUID})], "n": 5, "none": None}
    assert Secrets([]).removed_from(value) == {
        "a removed": [["x", {"k": "removed"}]],
        "n": 5,
        "none": None,
    }


def test_links_to_what_was_removed_go_too():
    tree = Tree(
        files={"sys/d/mouse/scope": "Device\n", "sys/d/mouse/power_now": "1", "sys/d/x": "1"},
        links={"sys/c/mouse/power_now": "sys/d/mouse/power_now", "sys/c/x": "sys/d/x"},
        refused={"sys/d/mouse/alarm": 5},
    )
    left = Secrets([]).without(tree)
    assert (left.files, left.links, left.refused) == (
        {"sys/d/x": "1"},
        {"sys/c/x": "sys/d/x"},
        {},
    )
