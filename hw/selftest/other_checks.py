"""Checks of other programs: nvpmodel, jetson-stats, and those that set clocks too."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hw.base import Hold
from hw.boards.conflicts import find_conflicts
from hw.doctor.survey import survey
from hw.doctor.throttle import throttle_reasons
from hw.errors import HardwareError
from hw.selftest.bench import SelfTestBench
from hw.selftest.findings import Verdict
from hw.sensors.find import JTOP_SOCKET
from hw.sensors.jtop import JtopClient
from hw.settings.power_mode import CONF, PowerModes
from hw.sysfs import Sysfs

QUERY = ("nvpmodel", "-q")
SYSTEM_PYTHON = Path("/usr/bin/python3")
"""Where jetson-stats usually is, if not next to this project."""
JTOP_SHARE, JTOP_FLOOR_W = 0.3, 0.5
"""jtop averages over a second, and neither reads at the same instant."""


def check_nvpmodel(bench: SelfTestBench) -> None:
    """Whether this project takes the power mode for what nvpmodel says it is."""
    if not bench.sysfs.exists(bench.sysfs.path(CONF)):
        return
    try:
        said = bench.sysfs.run(QUERY)
        mode = PowerModes(bench.sysfs).current()
    except HardwareError as error:
        bench.note("nvpmodel", Verdict.UNTOLD, str(error))
        return
    title = PowerModes(bench.sysfs).title()
    agrees = mode is not None and mode in said.split()
    text = f"taken for {title}, nvpmodel -q says {' '.join(said.split())!r}"
    bench.note("nvpmodel", Verdict.PASSED if agrees else Verdict.FAILED, text)


def check_jtop(bench: SelfTestBench) -> None:
    """Whether jetson-stats shows the same power for the rails of the same name.

    Raises:
        HardwareError: the board cannot be opened, or not be given back.
    """
    try:
        rails_w = bench.ask_jtop()
    except HardwareError as error:
        bench.note("jtop", Verdict.UNTOLD, str(error))
        return
    if rails_w is None:
        return
    bench.findings.jtop_w = rails_w
    with bench.open(Hold.CAP) as board:
        try:
            ours_w = {n: s.read_w() for n, s in board.power.sensors.items() if n in rails_w}
        except HardwareError as error:
            bench.note("jtop", Verdict.UNTOLD, str(error))
            return
    bench.note("jtop", *_compare(rails_w, ours_w))


def _compare(jtop_w: Mapping[str, float], ours_w: Mapping[str, float]) -> tuple[Verdict, str]:
    if not ours_w:
        return Verdict.UNTOLD, f"no rail of the same name; it shows {', '.join(jtop_w) or 'none'}"
    text = ", ".join(f"{n} {jtop_w[n]:.2f} W (here {w:.2f})" for n, w in ours_w.items())
    far = [
        name
        for name, power_w in ours_w.items()
        if abs(power_w - jtop_w[name]) > JTOP_FLOOR_W + JTOP_SHARE * abs(power_w)
    ]
    return Verdict.FAILED if far else Verdict.PASSED, text


def jtop_power_w(sysfs: Sysfs) -> dict[str, float] | None:
    """Power of each rail as the service of jetson-stats shows it, W; None where it does not run.

    Raises:
        HardwareError: it runs and does not answer.
    """
    if not sysfs.is_live or not sysfs.exists(sysfs.path(JTOP_SOCKET)):
        return None
    here = importlib.util.find_spec("jtop") is not None
    client = JtopClient((sys.executable if here else str(SYSTEM_PYTHON),))
    try:
        return {name: raw_mw * 1e-3 for name, raw_mw in client.read_mw().items()}
    finally:
        client.close()


def check_survey(bench: SelfTestBench) -> None:
    """What the doctor could not read, and what it doubts."""
    found = survey(bench.sysfs)
    for text in found.left_out:
        bench.note("left out", Verdict.UNTOLD, text)
    for text in found.doubts:
        bench.note("doubts", Verdict.UNTOLD, text)


def check_rivals(bench: SelfTestBench) -> None:
    """Which programs set clocks too."""
    rivals = find_conflicts(bench.sysfs)
    text = "; ".join(f"{rival.name} sets clocks too: {rival.remedy}" for rival in rivals)
    verdict = Verdict.UNTOLD if rivals else Verdict.PASSED
    bench.note("other programs", verdict, text or "none that sets clocks")


def look_at_throttling(bench: SelfTestBench, when: str) -> Sequence[str]:
    """Why clocks are or were held down."""
    try:
        reasons = throttle_reasons(bench.sysfs)
    except HardwareError as error:
        reasons = [str(error)]
    bench.findings.throttled[when] = reasons
    return reasons


def check_throttling(bench: SelfTestBench) -> None:
    """Whether something slowed the machine down since the start of the test."""
    before = bench.findings.throttled.get("before", [])
    reasons = [reason for reason in look_at_throttling(bench, "after") if reason not in before]
    if reasons:
        bench.note("slowed down", Verdict.UNTOLD, f"meanwhile: {'; '.join(reasons)}")
    else:
        earlier = f"; before: {'; '.join(before)}" if before else ""
        bench.note("slowed down", Verdict.PASSED, f"not by this test{earlier}")
