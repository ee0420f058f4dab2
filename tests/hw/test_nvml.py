"""NVIDIA cards by a fake `pynvml`, whose functions are there, refuse or fail one by one."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from hw.base import Applied, Cause, Hold
from hw.boards import linux
from hw.doctor.throttle import throttle_reasons
from hw.errors import (
    FrequencyRejectedError,
    PermissionDeniedError,
    SensorReadError,
    UnsupportedError,
)
from hw.nvidia.card import nvml_cards
from hw.nvidia.locked_range import LockedRange
from hw.nvidia.nvml import SETTLE_S, NvmlDomain, nvml_domains, nvml_zones
from hw.sensors.energy_meter import POLLED
from hw.sensors.find import find_power
from hw.session.session import Session
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.kernel import FakeKernel

NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, GPU_IS_LOST = 3, 4, 13, 15
DRIVER_NOT_LOADED, UNKNOWN = 9, 999
GRAPHICS, MEM = 0, 2
MEMORY_MHZ = {9501: [2100, 2085, 1500, 210], 405: [420, 210]}
POINTS_HZ = (210_000_000, 1_500_000_000, 2_085_000_000, 2_100_000_000)


class FakeNVMLError(Exception):
    def __init__(self, value):
        super().__init__(f"code {value}")
        self.value = value


class FakeCard:
    """A desktop card; `answers` holds a value or an error for each function without its prefix."""

    def __init__(self, number=0):
        self.clocks_mhz = {GRAPHICS: 210, MEM: 405}
        self.locked = {}
        self.follows = True
        self.answers = {
            "GetName": "NVIDIA GeForce RTX 3080",
            "GetUUID": f"GPU-{number:08x}",
            "GetPowerUsage": 65_400,
            "GetTotalEnergyConsumption": 1_234_567,
            "GetTemperatureV": lambda sensor: 61,
            "GetTemperature": lambda sensor: 61,
            "GetTemperatureThreshold": lambda threshold: {1: 98}[threshold],
            "GetCurrentClocksEventReasons": 0,
            "GetSupportedMemoryClocks": list(MEMORY_MHZ),
            "GetSupportedGraphicsClocks": lambda memory_mhz: MEMORY_MHZ[memory_mhz],
            "GetClockInfo": self.clocks_mhz.__getitem__,
            "SetGpuLockedClocks": partial(self._lock, GRAPHICS),
            "SetMemoryLockedClocks": partial(self._lock, MEM),
            "ResetGpuLockedClocks": lambda: self.locked.pop(GRAPHICS, None),
            "ResetMemoryLockedClocks": lambda: self.locked.pop(MEM, None),
        }

    def _lock(self, clock, low_mhz, high_mhz):
        self.locked[clock] = (low_mhz, high_mhz)
        if self.follows:
            self.clocks_mhz[clock] = high_mhz

    def refuse(self, *functions, code=NOT_SUPPORTED):
        self.answers.update(dict.fromkeys(functions, FakeNVMLError(code)))

    def __call__(self, function, *arguments):
        answer = self.answers.get(function, FakeNVMLError(FUNCTION_NOT_FOUND))
        if isinstance(answer, Exception):
            raise answer
        return answer(*arguments) if callable(answer) else answer


def jetson_card():
    """What NVML is on JetPack 6: it starts, and names a card."""
    card = FakeCard()
    card.refuse(*(name for name in card.answers if name not in ("GetName", "GetUUID")))
    return card


class FakeNvml:
    """The module; `lacks` names functions that this version does not have."""

    NVMLError = FakeNVMLError
    NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NO_PERMISSION = NOT_SUPPORTED, NO_PERMISSION
    NVML_ERROR_FUNCTION_NOT_FOUND = FUNCTION_NOT_FOUND
    NVML_TEMPERATURE_GPU, NVML_TEMPERATURE_THRESHOLD_SLOWDOWN = 0, 1
    NVML_CLOCK_GRAPHICS, NVML_CLOCK_MEM = GRAPHICS, MEM

    def __init__(self, *cards, init_fails=None, lacks=()):
        self._cards, self._init_fails = cards, init_fails
        self._lacks = lacks

    def nvmlInit(self):  # noqa: N802 (its names)
        if self._init_fails is not None:
            raise FakeNVMLError(self._init_fails)

    def nvmlDeviceGetCount(self):  # noqa: N802
        return len(self._cards)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        if self._cards[index] is None:
            raise FakeNVMLError(GPU_IS_LOST)
        return self._cards[index]

    def __getattr__(self, name):
        if not name.startswith("nvmlDevice") or name in self._lacks:
            raise AttributeError(name)
        return lambda card, *arguments: card(name.removeprefix("nvmlDevice"), *arguments)


@pytest.fixture
def sysfs(tmp_path):
    return FakeSysfs(FakeKernel(), tmp_path)


@pytest.fixture
def session(sysfs):
    session = Session(sysfs)
    session.begin()
    yield session
    session.end()


def card_of(fake, **options):
    (card,) = nvml_cards(FakeNvml(fake, **options))
    return card


def domain_of(fake, session, hold=Hold.CAP, name="gpu0"):
    return nvml_domains(card_of(fake), session, hold)[name]


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def settled(fake, session, hold):
    """A domain whose request is long ago."""
    clock = Clock()
    domain = NvmlDomain(card_of(fake), "graphics", "gpu0", POINTS_HZ, session, hold, clock)
    assert domain.verify() is None
    domain.request(2_085_000_000)
    clock.now_s += SETTLE_S
    return domain


# Finding


def test_no_package_no_driver_and_no_card_are_no_cards(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml_cards() == []
    assert nvml_cards(FakeNvml(init_fails=DRIVER_NOT_LOADED)) == []
    assert nvml_cards(FakeNvml()) == []


def test_card_that_has_dropped_off_the_bus_takes_no_other_with_it():
    cards = nvml_cards(FakeNvml(FakeCard(0), None, FakeCard(2)))
    assert [card.name for card in cards] == ["nvidia0", "nvidia2"]


def test_card_is_read_in_si_units(sysfs):
    card = card_of(FakeCard())
    power = find_power(sysfs, [card])
    assert {n: c.read_j() for n, c in power.counters.items()} == {"nvidia0": 1234.567}
    assert {n: s.read_w() for n, s in power.sensors.items()} == {f"nvidia0{POLLED}": 65.4}
    assert power.total.rails == ("nvidia0",)
    (zone,) = nvml_zones([card]).values()
    assert (zone.name, zone.read_c(), zone.limit_c) == ("nvidia0", 61.0, 98.0)


def test_power_is_polled_where_nothing_counts(sysfs):
    fake = FakeCard()
    fake.refuse("GetTotalEnergyConsumption")  # before Volta
    power = find_power(sysfs, [card_of(fake)])
    assert (power.counters, list(power.sensors)) == ({}, ["nvidia0"])
    assert power.total.rails == ("nvidia0",)


@pytest.mark.parametrize("code", [NOT_SUPPORTED, FUNCTION_NOT_FOUND, NO_PERMISSION, UNKNOWN])
@pytest.mark.parametrize("function", sorted(set(FakeCard().answers) - {"GetName", "GetUUID"}))
def test_any_function_may_be_missing(sysfs, session, function, code):
    """Whatever is left is found, and nothing fails on the way."""
    fake = FakeCard()
    fake.refuse(function, code=code)
    card = card_of(fake)
    power = find_power(sysfs, [card])
    for zone in nvml_zones([card]).values():
        zone.read_c()
    throttle_reasons(sysfs, [card])
    domains = nvml_domains(card, session, Hold.CAP)
    found = {*power.sensors, *power.counters, *domains, *nvml_zones([card])}
    lost = {
        "GetPowerUsage": {"nvidia0.power"},
        "GetSupportedMemoryClocks": {"gpu0", "gpu0_mem"},
        "GetSupportedGraphicsClocks": {"gpu0"},
    }
    if function != "GetTotalEnergyConsumption":
        assert found == {"nvidia0", "nvidia0.power", "gpu0", "gpu0_mem"} - lost.get(function, set())


def test_card_of_a_jetson_refuses_everything_and_is_nothing(sysfs, session):
    card = card_of(jetson_card())
    power = find_power(sysfs, [card])
    assert (power.sensors, power.counters, power.unread) == ({}, {}, [])
    assert nvml_zones([card]) == {}
    assert nvml_domains(card, session, Hold.CAP) == {}
    assert throttle_reasons(sysfs, [card]) == []


def test_older_packages_and_newer_drivers_differ_in_names(sysfs):
    fake = FakeCard()
    fake.answers["GetCurrentClocksThrottleReasons"] = 0x20
    lacks = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetCurrentClocksEventReasons")
    card = card_of(fake, lacks=lacks)
    assert nvml_zones([card])["nvidia0"].read_c() == 61.0
    assert throttle_reasons(sysfs, [card]) == ["nvidia0: heat (driver)"]
    with pytest.raises(UnsupportedError, match=r"lacks nvmlDeviceGetTemperatureV; update it"):
        card.call("nvmlDeviceGetTemperatureV", 0)


def test_reading_that_fails_later_is_an_error(sysfs):
    fake = FakeCard()
    counter = find_power(sysfs, [card_of(fake)]).counters["nvidia0"]
    fake.refuse("GetTotalEnergyConsumption", code=GPU_IS_LOST)
    with pytest.raises(SensorReadError, match=r"Consumption of NVIDIA GeForce RTX 3080 failed"):
        counter.read_j()


# Clocks


def test_points_are_those_of_the_fastest_memory_clock(session):
    domains = nvml_domains(card_of(FakeCard()), session, Hold.CAP)
    assert domains["gpu0"].available_hz == POINTS_HZ
    assert domains["gpu0_mem"].available_hz == (405_000_000, 9_501_000_000)


@pytest.mark.parametrize(
    ("hold", "name", "locked"),
    [
        (Hold.CAP, "gpu0", {GRAPHICS: (210, 1500)}),
        (Hold.PIN, "gpu0", {GRAPHICS: (1500, 1500)}),
        (Hold.CAP, "gpu0_mem", {MEM: (405, 405)}),
    ],
)
def test_range_is_locked_and_given_up_at_the_end(sysfs, hold, name, locked):
    fake = FakeCard()
    session = Session(sysfs)
    session.begin()
    domain = domain_of(fake, session, hold, name)
    target_hz = domain.available_hz[0 if name == "gpu0_mem" else 1]
    assert domain.request(target_hz + 5_000_000) == Applied(target_hz, target_hz)
    assert fake.locked == locked
    assert domain.read_hz() == target_hz
    session.end()
    assert fake.locked == {}


def test_same_point_is_not_locked_again(session):
    fake = FakeCard()
    domain = domain_of(fake, session)
    domain.request(1_500_000_000)
    fake.refuse("SetGpuLockedClocks")
    domain.request(1_500_000_000)


def test_user_without_rights_learns_what_it_takes(session):
    fake = FakeCard()
    fake.refuse("SetGpuLockedClocks", code=NO_PERMISSION)
    fake.answers["ResetGpuLockedClocks"] = None
    sentence = r"SetGpuLockedClocks of NVIDIA GeForce RTX 3080 was refused; run as root or with"
    with pytest.raises(PermissionDeniedError, match=sentence):
        domain_of(fake, session).request(1_500_000_000)


def test_refused_range_is_a_rejected_frequency(session):
    fake = FakeCard()
    fake.refuse("SetGpuLockedClocks", code=2)
    with pytest.raises(FrequencyRejectedError, match="SetGpuLockedClocks"):
        domain_of(fake, session).request(1_500_000_000)


def test_card_that_runs_lower_under_a_cap_is_fine(session):
    fake = FakeCard()
    domain = settled(fake, session, Hold.CAP)
    fake.clocks_mhz[GRAPHICS] = 210
    assert domain.verify() == Applied(2_085_000_000, 2_085_000_000)


@pytest.mark.parametrize(
    ("reasons", "cause"),
    [(0x20, Cause.THERMAL), (0x40, Cause.THERMAL), (0x4, Cause.FIRMWARE), (0x1, None)],
)
def test_pinned_card_that_runs_lower_tells_why(session, reasons, cause):
    fake = FakeCard()
    domain = settled(fake, session, Hold.PIN)
    fake.clocks_mhz[GRAPHICS] = 1500
    fake.answers["GetCurrentClocksEventReasons"] = reasons
    applied_hz = 2_085_000_000 if cause is None else 1_500_000_000  # an idle card rests
    assert domain.verify() == Applied(2_085_000_000, applied_hz, cause)


def test_card_above_its_cap_is_never_fine(session):
    fake = FakeCard()
    domain = settled(fake, session, Hold.CAP)
    fake.clocks_mhz[GRAPHICS] = 2100
    assert domain.verify() == Applied(2_085_000_000, 2_100_000_000, Cause.FIRMWARE)


def test_clock_has_its_time_to_follow(session):
    fake = FakeCard()
    fake.follows = False
    assert domain_of(fake, session, Hold.PIN).request(2_100_000_000).cause is None


# On a board


@pytest.fixture
def open_with_card(machine, open_linux, monkeypatch):
    """A PC with a card, though its kernel is a fake one."""

    def build(**options):
        fake = FakeCard()
        fake_sysfs = machine("x86-amd")
        monkeypatch.setattr(type(fake_sysfs), "is_live", True)
        monkeypatch.setattr(linux, "nvml_cards", lambda: nvml_cards(FakeNvml(fake)))
        return fake, open_linux(fake_sysfs, **options)

    return build


def test_ranges_are_locked_only_on_request(open_with_card):
    fake, board = open_with_card()
    assert list(board.domains) == ["cpu"]
    board.apply({"cpu": board.domains["cpu"].available_hz[0]})
    assert fake.locked == {}
    board.close()
    fake, board = open_with_card(lock_nvidia=True)
    board.apply({"gpu0": 1_500_000_000})
    assert fake.locked == {GRAPHICS: (1500, 1500)}
    board.close()
    assert fake.locked == {}


def test_hot_card_is_guarded_and_counted(open_with_card):
    fake, board = open_with_card()
    fake.answers["GetTemperatureV"] = lambda sensor: 97
    assert (board.temperature_c(), board.temperature_limit_c) == (97.0, 98.0)
    assert board.power.total.rails == ("package-0", "nvidia0")


# After a crash


def leave_locked(sysfs, fake):
    """A process that is killed: its journal stays, and its lock goes."""
    session = Session(sysfs)
    session.begin()
    domain_of(fake, session).request(1_500_000_000)
    session._saved.clear()
    session.end()
    assert fake.locked != {}


def test_range_is_given_up_by_the_journal(sysfs, monkeypatch):
    other, fake = FakeCard(1), FakeCard(0)
    leave_locked(sysfs, fake)
    other.locked[GRAPHICS] = (210, 420)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(other, fake))
    session = Session(sysfs)
    session.begin()
    session.end()
    assert fake.locked == {}
    assert other.locked == {GRAPHICS: (210, 420)}  # another program's


def test_card_that_was_taken_out_has_nothing_to_give_up(sysfs, monkeypatch):
    leave_locked(sysfs, FakeCard(0))
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(FakeCard(1)))
    session = Session(sysfs)
    session.begin()
    session.end()


def test_unreachable_card_is_told_waits_in_the_journal_and_blocks_no_start(
    sysfs, monkeypatch, caplog
):
    fake = FakeCard(0)
    leave_locked(sysfs, fake)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    session = Session(sysfs)
    session.begin()
    session.end()
    assert "GPU-00000000" in caplog.text
    assert "until it returns with its driver" in caplog.text
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(fake))
    session = Session(sysfs)
    session.begin()
    session.end()
    assert fake.locked == {}


def test_garbled_description_is_a_damaged_journal():
    with pytest.raises(KeyError):
        LockedRange.from_document(
            FakeSysfs(FakeKernel(), Path("/nowhere")), {"uuid": "GPU-0", "clock": "video"}
        )
