from __future__ import annotations

import errno
import os
from contextlib import closing

import pytest

import hw.sysfs as sysfs_module
from hw.errors import (
    FrequencyRejectedError,
    PermissionDeniedError,
    SensorReadError,
    UnsupportedError,
)
from hw.sysfs import Sysfs
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.attribute import Stored
from tests.hw.fake.kernel import FakeKernel


@pytest.fixture
def failing(tmp_path):
    """A kernel with one value whose accesses fail as told."""

    def build(code: int) -> FakeSysfs:
        kernel = FakeKernel()
        kernel.add({"sys/value": Stored(1)})
        kernel.fails["sys/value"] = code
        return FakeSysfs(kernel, tmp_path)

    return build


@pytest.fixture
def value(tmp_path):
    """A plain file as a value, and access to it."""
    path = tmp_path / "sys" / "value"
    path.parent.mkdir()
    path.write_text("7\n")
    return path


@pytest.fixture
def sysfs(tmp_path):
    opened = Sysfs(tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("code", "error", "remedy"),
    [
        (errno.ENOENT, UnsupportedError, "lacks it"),
        (errno.EACCES, PermissionDeniedError, "root"),
        (errno.EPERM, PermissionDeniedError, "udev"),
        (errno.ENODATA, SensorReadError, "enable its channel"),
        (errno.EIO, SensorReadError, "driver"),
    ],
)
def test_failed_reads_name_path_and_remedy(failing, code, error, remedy):
    sysfs = failing(code)
    with pytest.raises(error, match=f"sys/value.*{remedy}"):
        sysfs.read_text(sysfs.root / "sys/value")


@pytest.mark.parametrize(
    ("code", "error", "remedy"),
    [
        (errno.ENOENT, UnsupportedError, "lacks it"),
        (errno.EACCES, PermissionDeniedError, "root"),
        (errno.EROFS, PermissionDeniedError, "mounted read-only.*docker run -v /sys:/sys"),
        (errno.EBUSY, FrequencyRejectedError, "stop the program"),
        (errno.EINVAL, FrequencyRejectedError, "which values its driver takes"),
        (errno.EIO, FrequencyRejectedError, "driver"),
    ],
)
def test_failed_writes_name_path_value_and_remedy(failing, code, error, remedy):
    sysfs = failing(code)
    with pytest.raises(error, match=f"sys/value.*'42'.*{remedy}"):
        sysfs.write_text(sysfs.root / "sys/value", "42")


def test_refused_clock_is_told_to_take_an_operating_point(machine):
    sysfs = machine("raspberry-pi-4")
    name = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
    sysfs.kernel.fails_writes[name] = errno.EINVAL
    with pytest.raises(FrequencyRejectedError, match="use an operating point"):
        sysfs.write_text(sysfs.path(name), "42")


def test_values_written_are_read_back(sysfs, value):
    for number in (8, 123_456, 9):
        sysfs.write_text(value, str(number))
        assert sysfs.read_int(value) == number


def test_files_kept_open_show_what_others_write(sysfs, value):
    assert sysfs.read_int(value) == 7
    value.write_text("8\n")
    assert sysfs.read_int(value) == 8


def test_files_are_opened_once(sysfs, value, monkeypatch):
    opened = []
    real_open = sysfs_module.os.open
    monkeypatch.setattr(
        sysfs_module.os, "open", lambda *a, **k: opened.append(a[0]) or real_open(*a, **k)
    )
    for number in range(5):
        sysfs.write_text(value, str(number))
        sysfs.read_int(value)
    assert opened == [value, value]


def test_writing_never_creates_a_file(sysfs, tmp_path):
    with pytest.raises(UnsupportedError):
        sysfs.write_text(tmp_path / "absent", "1")
    assert not sysfs.exists(tmp_path / "absent")


@pytest.mark.parametrize("text", ["", "fast", "1 2", "1.5"])
def test_anything_but_one_whole_number_is_an_error(sysfs, value, text):
    value.write_text(text)
    with pytest.raises(SensorReadError, match="sys/value"):
        sysfs.read_int(value)


def test_bytes_that_are_no_text_are_an_error(sysfs, value):
    value.write_bytes(b"\xff\xfe")
    with pytest.raises(SensorReadError, match="value"):
        sysfs.read_text(value)


def test_folders_come_in_the_order_of_their_numbers(sysfs, tmp_path):
    for number in (10, 4, 0):
        (tmp_path / f"sys/policy{number}").mkdir(parents=True)
    names = [path.name for path in sysfs.glob("sys/policy*")]
    assert names == ["policy0", "policy4", "policy10"]


def test_commands_of_a_live_machine_are_run():
    sysfs = Sysfs()
    assert sysfs.run(["echo", "volt=1V"]) == "volt=1V"
    with pytest.raises(UnsupportedError, match="no command 'vcgencmd-that-is-not-there'"):
        sysfs.run(["vcgencmd-that-is-not-there"])
    with pytest.raises(SensorReadError, match=r"'false' failed"):
        sysfs.run(["false"])
    with pytest.raises(SensorReadError, match=r"'printf .*' failed: .*codec"):
        sysfs.run(["printf", r"volt=\377V"])


def test_commands_of_a_recorded_tree_are_read(sysfs, tmp_path):
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "vcgencmd get_throttled").write_text("throttled=0x0\n")
    assert sysfs.run(["vcgencmd", "get_throttled"]) == "throttled=0x0"
    with pytest.raises(UnsupportedError):
        sysfs.run(["vcgencmd", "pmic_read_adc"])


@pytest.mark.parametrize("folder", ["sys", "proc"])
def test_a_pipe_in_a_recorded_tree_keeps_nobody_waiting(tmp_path, folder):
    (tmp_path / folder).mkdir()
    os.mkfifo(tmp_path / folder / "value")
    with closing(Sysfs(tmp_path)) as sysfs:
        with pytest.raises(SensorReadError, match="value cannot be read"):
            sysfs.read_text(sysfs.path(f"{folder}/value"))
        with pytest.raises(FrequencyRejectedError, match=r"value (refused|cannot be set to) '1'"):
            sysfs.write_text(sysfs.path(f"{folder}/value"), "1")
