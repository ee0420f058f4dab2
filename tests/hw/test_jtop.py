"""The client of jetson-stats, in a process of its own, against a package that behaves like it."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from hw.errors import ImplausibleReadingError, SensorReadError
from hw.sensors import find
from hw.sensors.jtop import JtopClient, JtopPower, jtop_sensors
from hw.sensors.total import total_of
from tests.hw.fake.clock import FakeClock

PACKAGE = """
import threading


class JtopException(Exception):
    pass


class jtop:
    def __init__(self, interval=1.0):
        assert interval > 0
        self.n_seen = 0

    def __enter__(self):
{start}
        return self

    def __exit__(self, kind, error, trace):
        return kind is None

    def ok(self, spin=False):
        self.n_seen += 1
{ok}

    @property
    def power(self):
        n = self.n_seen
{power}
"""
# What it shows of an Orin Nano: the input's rail is taken out of the others.
RAILS = """
rails = {"VDD_CPU_GPU_CV": {"volt": 5000, "curr": 240, "power": 1200 + n, "avg": 1200},
         "VDD_SOC": {"volt": 5000, "curr": 280, "power": 1400, "avg": 1400}}
total = {"volt": 5000, "curr": 980, "power": 4880, "avg": 4880, "name": "VDD_IN"}
return {"rail": rails, "tot": total}
"""
BLOCK = "threading.Event().wait()"
FOR_EVER = f"return self.n_seen <= 3 or {BLOCK}"
PATIENCE_S = 5.0


@pytest.fixture
def client_of(tmp_path, monkeypatch):
    """Start a client whose Python has a `jtop` that does as told."""
    clients = []
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def build(power=RAILS, ok=FOR_EVER, start="pass", **options):
        parts = {"power": power, "ok": ok, "start": start}
        indented = {k: textwrap.indent(v.strip(), " " * 8) for k, v in parts.items()}
        (tmp_path / "jtop.py").write_text(PACKAGE.format(**indented))
        options = {"start_timeout_s": PATIENCE_S, **options}
        clients.append(JtopClient(**options))
        return clients[-1]

    yield build
    for client in clients:
        client.close()


def read_until(client, rail, raw_mw):
    while client.read_mw()[rail] != raw_mw:
        pass


def check_one_sentence(error):
    text = str(error.value)
    assert "\n" not in text
    assert "Traceback" not in text
    assert len(text) < 200


def test_rails_are_watts_and_the_input_is_among_them(client_of):
    client = client_of()
    sensors = {sensor.name: sensor for sensor in jtop_sensors(client)}
    assert set(sensors) == {"VDD_CPU_GPU_CV", "VDD_SOC", "VDD_IN"}
    assert sensors["VDD_IN"].read_w() == pytest.approx(4.88)
    assert sensors["VDD_SOC"].read_w() == pytest.approx(1.4)
    assert total_of(sensors).rails == ("VDD_IN",)


# What the services themselves gave of a fake Orin Nano: 4.2.12 with a USB-C supply beside it, and
# 7.2.2; and what 7.2.2 gives of a Thor, by its source.
OF_4_2_12 = """
return {"rail": {"VDD_CPU_GPU_CV": {"volt": 5000, "curr": 450, "warn": 4984, "power": 2250,
                                    "online": True, "avg": 2250},
                 "VDD_SOC": {"volt": 5000, "curr": 300, "warn": 4984, "power": 1500,
                             "online": True, "avg": 1500},
                 "ucsi_ccg.01": {"online": True, "volt": 5000, "curr": 3000, "power": 15000,
                                 "avg": 15000}},
        "tot": {"volt": 5000, "curr": 900, "warn": 4984, "power": 4500, "online": True,
                "avg": 4500, "name": "VDD_IN"}}
"""
OF_7_2_2 = """
return {"rail": {"VDD_CPU_GPU_CV": {"volt": 5000, "curr": 450, "warn": 4984, "power": 2250,
                                    "online": True, "avg": 2250},
                 "VDD_SOC": {"volt": 5000, "curr": 300, "warn": 4984, "power": 1500,
                             "online": True, "avg": 1500}},
        "tot": {"volt": 5000, "curr": 900, "warn": 4984, "power": 4500, "online": True,
                "avg": 4500, "name": "VDD_IN"}}
"""
OF_A_THOR = """
return {"rail": {"VDD_GPU": {"volt": 12000, "curr": 250, "power": 3000, "online": True,
                             "avg": 3000},
                 "VIN_SYS_5V0": {"volt": 5000, "curr": 1000, "power": 5000, "online": True,
                                 "avg": 5000}},
        "tot": {"volt": 20000, "curr": 1200, "power": 24000, "online": True, "avg": 24000,
                "name": "VIN"}}
"""


@pytest.mark.parametrize(
    ("power", "rails_w", "total"),
    [
        (OF_4_2_12, {"VDD_CPU_GPU_CV": 2.25, "VDD_SOC": 1.5, "VDD_IN": 4.5}, ("VDD_IN",)),
        (OF_7_2_2, {"VDD_CPU_GPU_CV": 2.25, "VDD_SOC": 1.5, "VDD_IN": 4.5}, ("VDD_IN",)),
        (OF_A_THOR, {"VDD_GPU": 3.0, "VIN_SYS_5V0": 5.0, "VIN": 24.0}, ("VIN",)),
    ],
    ids=["4.2.12", "7.2.2", "Thor"],
)
def test_what_the_versions_of_the_service_give_is_understood(client_of, power, rails_w, total):
    sensors = {sensor.name: sensor for sensor in jtop_sensors(client_of(power))}
    assert {name: s.read_w() for name, s in sensors.items()} == pytest.approx(rails_w)
    assert total_of(sensors).rails == total


def test_service_without_a_power_monitor_says_so(client_of):
    with pytest.raises(SensorReadError, match="jtop says: it finds no power monitor"):
        client_of("return {}").read_mw()


def test_failure_without_words_is_named(client_of):
    """A service that dies in between ends its clients' connection with an empty EOFError."""
    with pytest.raises(SensorReadError, match="jtop says: EOFError"):
        client_of(ok="raise EOFError").read_mw()


@pytest.mark.parametrize("raw_mw", [-5000, 100_000_000_000])
def test_power_that_cannot_be_is_refused(client_of, raw_mw):
    power = f'return {{"rail": {{"GPU": {{"power": {raw_mw}}}}}, "tot": {{"power": 0, "avg": 0}}}}'
    with pytest.raises(ImplausibleReadingError, match="jtop's rail GPU shows"):
        JtopPower(client_of(power), "GPU").read_w()


def test_board_without_a_rail_at_its_input_has_its_rails(client_of):
    power = 'return {"rail": {"GPU": {"power": 500}}, "tot": {"power": 500, "avg": 500}}'
    assert client_of(power).read_mw() == {"GPU": 500}


def test_latest_of_several_lines_counts(client_of):
    client = client_of()
    read_until(client, "VDD_CPU_GPU_CV", 1203)
    assert client.read_mw()["VDD_CPU_GPU_CV"] == 1203


def test_end_of_the_service_is_an_error_and_never_the_last_value(client_of):
    client = client_of(ok="return self.n_seen < 3")
    with pytest.raises(SensorReadError, match=r"jtop has ended; .* service jtop is running") as e:
        read_until(client, "VDD_IN", 0)
    check_one_sentence(e)


def test_what_jetson_stats_complains_about_is_passed_on_in_one_line(client_of):
    complaint = "The jtop.service is not active. Please run:\\nsudo jtop --install-service"
    client = client_of(start=f'raise JtopException("{complaint}")')
    with pytest.raises(SensorReadError, match=r"jtop says: .* Please run: sudo jtop --inst") as e:
        jtop_sensors(client)
    check_one_sentence(e)


def test_missing_package_is_told(client_of):
    client = client_of(start="import no_such_package")
    with pytest.raises(SensorReadError, match=r"jtop says: No module named 'no_such_package'"):
        client.read_mw()


def test_silence_from_the_start_is_an_error(client_of):
    client = client_of(start=BLOCK, start_timeout_s=0.05)
    with pytest.raises(SensorReadError, match=r"jtop has said nothing for 0\.05 s") as e:
        client.read_mw()
    check_one_sentence(e)


def test_silence_later_is_an_error_and_the_last_value_counts_no_more(client_of):
    clock = FakeClock()
    client = client_of(silence_s=5.0, clock=clock)
    read_until(client, "VDD_CPU_GPU_CV", 1203)
    clock.sleep(4.9)
    assert client.read_mw()["VDD_IN"] == 4880
    clock.sleep(0.2)
    with pytest.raises(SensorReadError, match="jtop has said nothing for 5 s"):
        client.read_mw()


@pytest.mark.parametrize(
    "line", ["garbage", "[1, 2]", '{{"a": Infinity}}', '{{"VDD_IN": "4.9 W"}}', '{{"a": null}}', ""]
)
def test_garbage_is_an_error_that_shows_it(client_of, line):
    power = f"print({line.replace('{{', '{').replace('}}', '}')!r}, flush=True); {BLOCK}"
    with pytest.raises(SensorReadError, match=r"printed .* instead of rails; update") as e:
        client_of(power).read_mw()
    check_one_sentence(e)


def test_other_form_of_the_packages_answer_is_an_error(client_of):
    with pytest.raises(SensorReadError, match=r"jtop says: 'rail'"):
        client_of('return {"rails": {}}').read_mw()


def test_rail_that_goes_away_is_an_error(client_of):
    with pytest.raises(SensorReadError, match=r"no rail VDD_GONE any more"):
        JtopPower(client_of(), "VDD_GONE").read_w()


def test_closing_ends_the_process(client_of):
    client = client_of()
    client.read_mw()
    client.close()
    assert client._process.returncode is not None


# When it is asked


@pytest.fixture
def with_service(machine, monkeypatch, client_of):
    """A Jetson whose service runs, seen by a user who may not read its rails."""

    def build(**options):
        sysfs = machine("jetson-orin-nano")
        monkeypatch.setattr(type(sysfs), "is_live", True)
        monkeypatch.setattr(find, "JtopClient", lambda: client_of(**options))
        monkeypatch.setattr(find.importlib.util, "find_spec", lambda name: name)
        sysfs.kernel.add({"run/jtop.sock": ""})
        return sysfs

    return build


def test_service_is_not_asked_where_the_kernel_tells(with_service):
    power = find.find_power(with_service())
    assert power.jtop is None
    assert power.total.rails == ("VDD_IN",)


def test_service_is_asked_where_nothing_else_tells(with_service):
    sysfs = with_service()
    sysfs.kernel.remove("sys/class/hwmon")
    power = find.find_power(sysfs)
    assert power.total.rails == ("VDD_IN",)
    assert power.sensors["VDD_IN"].period_s == 1.0
    power.close()
    assert power.jtop is None


def test_service_that_does_not_answer_is_told(with_service):
    sysfs = with_service(start='raise JtopException("I can\'t access jtop.service.")')
    sysfs.kernel.remove("sys/class/hwmon")
    power = find.find_power(sysfs)
    assert (power.sensors, power.jtop) == ({}, None)
    assert power.unread == ["jtop says: I can't access jtop.service."]


def test_a_client_that_is_not_installed_is_named(with_service, monkeypatch):
    sysfs = with_service()
    sysfs.kernel.remove("sys/class/hwmon")
    monkeypatch.setattr(find.importlib.util, "find_spec", lambda name: None)
    power = find.find_power(sysfs)
    assert power.jtop is None
    (told,) = power.unread
    assert "[jetson]' brings it" in told


def test_this_process_never_imports_it():
    """It is under the AGPL."""
    assert "jtop" not in sys.modules
    sources = [path.read_text() for path in Path(find.__file__).parents[1].rglob("*.py")]
    importing = [line for text in sources for line in text.splitlines() if "import jtop" in line]
    assert all(not line.startswith(("import jtop", "from jtop")) for line in importing)
