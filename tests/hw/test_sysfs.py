from __future__ import annotations

import errno

import pytest

from hw.errors import (
    FrequencyRejectedError,
    PermissionDeniedError,
    SensorReadError,
    UnsupportedError,
)


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
def test_failed_reads_name_path_and_remedy(sysfs, code, error, remedy):
    sysfs.add({"sys/value": 1}).fails["sys/value"] = code
    with pytest.raises(error, match=f"sys/value.*{remedy}"):
        sysfs.read_text(sysfs.root / "sys/value")


@pytest.mark.parametrize(
    ("code", "error", "remedy"),
    [
        (errno.ENOENT, UnsupportedError, "lacks it"),
        (errno.EACCES, PermissionDeniedError, "root"),
        (errno.EROFS, PermissionDeniedError, "root"),
        (errno.EBUSY, FrequencyRejectedError, "stop the program"),
        (errno.EINVAL, FrequencyRejectedError, "operating point"),
        (errno.EIO, FrequencyRejectedError, "driver"),
    ],
)
def test_failed_writes_name_path_value_and_remedy(sysfs, code, error, remedy):
    sysfs.add({"sys/value": 1}).fails["sys/value"] = code
    with pytest.raises(error, match=f"sys/value.*'42'.*{remedy}"):
        sysfs.write_text(sysfs.root / "sys/value", "42")


def test_values_written_are_read_back(sysfs):
    sysfs.add({"sys/value": 7})
    sysfs.write_text(sysfs.root / "sys/value", "8")
    assert sysfs.read_int(sysfs.root / "sys/value") == 8


def test_writing_never_creates_a_file(sysfs):
    with pytest.raises(UnsupportedError):
        sysfs.write_text(sysfs.root / "absent", "1")
    assert not sysfs.exists(sysfs.root / "absent")


@pytest.mark.parametrize("text", ["", "fast", "1 2", "1.5"])
def test_anything_but_one_whole_number_is_an_error(sysfs, text):
    sysfs.add({"sys/value": text})
    with pytest.raises(SensorReadError, match="sys/value"):
        sysfs.read_int(sysfs.root / "sys/value")


def test_bytes_that_are_no_text_are_an_error(sysfs):
    (sysfs.root / "raw").write_bytes(b"\xff\xfe")
    with pytest.raises(SensorReadError, match="raw"):
        sysfs.read_text(sysfs.root / "raw")


def test_folders_come_in_the_order_of_their_numbers(sysfs):
    sysfs.add({f"sys/policy{number}/x": 0 for number in (10, 4, 0)})
    names = [path.name for path in sysfs.glob("sys/policy*")]
    assert names == ["policy0", "policy4", "policy10"]
