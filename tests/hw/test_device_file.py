from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from hw.device.file import device_names, device_path
from hw.device.latency import HostScaling
from hw.device.model import DeviceModel
from hw.device.written import device_document
from hw.errors import DeviceFileError


@pytest.fixture
def edited(tmp_path):
    """Write the TX2's file with one text replaced; returns its path."""

    def edit(old: str, new: str):
        text = device_path("tx2").read_text()
        assert old in text
        path = tmp_path / "edited.toml"
        path.write_text(text.replace(old, new, 1))
        return path

    return edit


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "NVIDIA Jetson TX2"', "title = 5", r"title is 5; give a text"),
        ('title = "NVIDIA Jetson TX2"\n', "", r"title is missing; add it"),
        ('name = "tx2"', 'name = ""', r"name is ''; give a text that is not blank"),
        (
            'name = "tx2"',
            'name = "tx2"\nnmae = 1',
            r"nmae = 1 is no known key; did you mean name\?",
        ),
        ("fast_tau_s = 1.5", "fast_tau_s = nan", r"thermal.fast_tau_s is nan; give a finite"),
        ("fast_tau_s = 1.5", "fast_tau_s = inf", r"thermal.fast_tau_s is inf; give a finite"),
        ("fast_tau_s = 1.5", "fast_tau_s = -1", r"thermal.fast_tau_s is -1; give a number > 0"),
        ("fast_tau_s = 1.5", "fast_tau_s = 0", r"thermal.fast_tau_s is 0; give a number > 0"),
        ("fast_tau_s = 1.5", "fast_tau_s = true", r"thermal.fast_tau_s is True; give a number"),
        ("fast_tau_s = 1.5", 'fast_tau_s = "1"', r"thermal.fast_tau_s is '1'; give a number"),
        ("fast_tau_s = 1.5\n", "", r"thermal.fast_tau_s is missing; add it"),
        ("fast_tau_s = 1.5", "fast_tau_s = 1.5\nx = 2", r"thermal.x = 2 is no known key"),
        ("[thermal]", "[termal]", r"termal = a table is no known key; did you mean thermal\?"),
        ("[domains.cpu]", "[domains.npu]", r"domains.npu = a table is no known key"),
        ("408000000,", "204000000,", r"domains.emc.available_hz is .*ascending"),
        ("    204000000,\n", "    0,\n", r"domains.emc.available_hz\[0\] is 0; give a number > 0"),
        (
            "    204000000,\n",
            '    "low",\n',
            r"domains.emc.available_hz\[0\] is 'low'; give a number",
        ),
        (
            "overlap_norm = 2.0",
            "overlap_norm = 0.5",
            r"_200px_tensorflow.overlap_norm is 0.5; give .* >= 1",
        ),
        ("[sensor]", "[workloads]\nx = 3\n[sensor]", r"workloads.x is 3; give a table"),
        (
            "[network]\n",
            "[network]\nschema_version = 1\n",
            r"network.schema_version = 1 is no known",
        ),
        ('name = "tx2"', 'name = "tx2"\nschema_version = 1', r"schema_version = 1 is no known key"),
        ("fixed_s_per_kernel = 0.0", "fixed_s_per_kernel = -1e-9", r"network.fixed_s_per_kernel"),
        ('name = "tx2"', 'name = "tx2', r"cannot be read: .*correct the file"),
    ],
)
def test_mistakes_name_file_key_value_and_remedy(edited, old, new, message):
    with pytest.raises(DeviceFileError, match=r"edited\.toml.*" + message):
        DeviceModel.load(edited(old, new))


@pytest.mark.parametrize("key", ["validated_on", "modelled"])
def test_claims_are_lists_of_texts(tmp_path, key):
    text = device_path("tx2").read_text()
    start = text.index(f"{key} = [")
    path = tmp_path / "claims.toml"
    path.write_text(text[:start] + f"{key} = [1]" + text[text.index("\n]", start) + 2 :])
    with pytest.raises(DeviceFileError, match=rf"{key}\[0\] is 1; give a text"):
        DeviceModel.load(path)


def test_unknown_name_lists_those_that_exist():
    with pytest.raises(DeviceFileError, match=r"'orin' is unknown; use one of .*tx2"):
        DeviceModel.load("orin")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DeviceFileError, match=r"absent\.toml does not exist; check the path"):
        DeviceModel.load(tmp_path / "absent.toml")


def test_bytes_that_are_no_text_are_an_error(tmp_path):
    path = tmp_path / "raw.toml"
    path.write_bytes(b"name = \xff")
    with pytest.raises(DeviceFileError, match=r"raw\.toml cannot be read"):
        DeviceModel.load(path)


def test_file_is_as_good_as_a_name(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(device_path("tx2").read_bytes())
    assert DeviceModel.load(str(path)) == DeviceModel.load("tx2")


def test_tx2_comes_with_the_package():
    assert "tx2" in device_names()


@pytest.mark.parametrize("name", [*device_names(), "agx-orin+30W"])
def test_a_device_that_is_written_is_the_one_that_is_read(name, tmp_path):
    tomli_w = pytest.importorskip("tomli_w")
    host = HostScaling(cpu_cycles_per_request=2.5e6, cpu_cycles_per_byte=12.5)
    device = replace(DeviceModel.load(name), host=host)
    sections = ("domains", "network", "power", "thermal", "sensor", "workloads")
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(device_document(device, dict.fromkeys(sections, "a test"))))
    again = DeviceModel.load(path)
    assert again.host == host
    assert (again.title, again.domains, again.runtime) == (
        device.title,
        device.domains,
        device.runtime,
    )
    near = {"rel": 1e-5}
    assert structs.asdict(again.power) == pytest.approx(structs.asdict(device.power), **near)
    for runtime, it in device.runtimes.items():
        found = again.runtimes[runtime]
        assert (found.measured, found.assumed) == (it.measured, it.assumed)
        network = structs.asdict(it.network)
        assert structs.asdict(found.network) == pytest.approx(network, **near)
    assert again.thermal == device.thermal
    assert again.sensor == device.sensor
    assert again.governors == device.governors
    assert again.power_modes.items() <= device.power_modes.items()
    assert again.workloads.keys() == device.workloads.keys()
