"""A whole self-test, part by part."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata

from hw.base import Hold
from hw.doctor.record import read_tree
from hw.errors import BoardNotFoundError, BusyError, HardwareError, PermissionDeniedError
from hw.selftest.bench import SelfTestBench, SelfTestEnvironment, SelfTestStop
from hw.selftest.clock_checks import check_clocks
from hw.selftest.findings import Findings, Verdict
from hw.selftest.given_back import check_given_back, read_settings
from hw.selftest.heat_checks import check_heat
from hw.selftest.load import WORDS
from hw.selftest.other_checks import (
    check_jtop,
    check_nvpmodel,
    check_rivals,
    check_survey,
    check_throttling,
    look_at_throttling,
)
from hw.selftest.power_checks import check_power, check_rails
from hw.sysfs import Sysfs
from hw.thermal.zones import machine_title

PACKAGES = ("dvfo", "numpy", "nvidia-ml-py", "jetson-stats")
KERNEL = "proc/sys/kernel/osrelease"
PARTS: tuple[tuple[str, Callable[[SelfTestBench], object]], ...] = (
    ("the doctor", check_survey),
    ("other programs", check_rivals),
    ("nvpmodel", check_nvpmodel),
    ("heat", check_heat),
    ("jtop", check_jtop),
    ("clocks by cap", partial(check_clocks, hold=Hold.CAP)),
    ("clocks by pin", partial(check_clocks, hold=Hold.PIN)),
    ("rails", check_rails),
    ("power", check_power),
)


def begin(sysfs: Sysfs, around: SelfTestEnvironment) -> SelfTestBench:
    """Look at the machine before anything is changed.

    Raises:
        HardwareError: it has no clocks, or is not this user's to drive now.
    """
    findings = Findings(
        machine=machine_title(sysfs),
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        versions=_versions(sysfs),
        load=WORDS,
    )
    bench = SelfTestBench(sysfs, around, findings)
    try:
        with bench.open(Hold.CAP):
            pass  # gives back what a killed process left, too
    except (BoardNotFoundError, BusyError, PermissionDeniedError):
        raise
    except HardwareError as error:  # a report of it is what is wanted
        bench.fail("opening the board", error)
    findings.tree = read_tree(sysfs)
    findings.settings["before"] = read_settings(sysfs)
    return bench


def run(bench: SelfTestBench, save: Callable[[], object]) -> None:
    """Go through all parts, and compare the machine with what it was.

    A part that cannot be gone through is a check that failed; the others follow.

    Args:
        bench: from `begin`.
        save: is called after each part, so that a killed test leaves what it has.
    """
    look_at_throttling(bench, "before")
    try:
        for name, part in PARTS:
            save()
            try:
                part(bench)
            except HardwareError as error:
                bench.fail(name, error)
    except SelfTestStop:
        bench.findings.ended_by = "the user"
        bench.note("the whole test", Verdict.UNTOLD, "ended by the user")
    finally:
        check_throttling(bench)
        check_given_back(bench)
        save()


def _versions(sysfs: Sysfs) -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    kernel = sysfs.path(KERNEL)
    if sysfs.exists(kernel):
        found["kernel"] = sysfs.read_text(kernel)
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
