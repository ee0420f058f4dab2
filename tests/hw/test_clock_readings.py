"""What clocks and their limits show for a moment and cannot be."""

from __future__ import annotations

from contextlib import suppress

import pytest

from hw.base import Hold
from hw.errors import HardwareError

NUMBER = "9" * 40


HELD = (
    *(
        (name, hold)
        for name in ("jetson-orin-nano", "jetson-nano")
        for hold in (Hold.CAP, Hold.PIN)
    ),
    *(("rk3588", hold) for hold in (Hold.CAP, Hold.PIN)),
    ("raspberry-pi-4", Hold.USERSPACE),
)


@pytest.mark.parametrize(("name", "hold"), HELD)
@pytest.mark.parametrize("text", [NUMBER, "xyzzy", "-5"])
def test_what_a_clock_cannot_show_is_neither_saved_nor_believed(
    machine, open_linux, name, hold, text
):
    """Each file that a request reads shows nonsense at the first request, then the truth."""
    sysfs = machine(name)
    kernel = sysfs.kernel
    before, requests = kernel.snapshot(), kernel.requests()
    board = open_linux(sysfs, hold)
    lowest = {n: d.available_hz[0] for n, d in board.domains.items()}
    read: list[str] = []
    kernel.before_access = lambda operation, path: operation == "read" and read.append(path)
    board.apply(lowest)
    kernel.before_access = None
    board.close()
    for path in dict.fromkeys(p for p in read if "/thermal" not in p and "nvpmodel" not in p):
        board.open()
        kernel.answers[path] = text
        with suppress(HardwareError):
            board.apply(lowest)
        applied = [one.applied_hz for one in board.applied.values()]
        highest = max(domain.available_hz[-1] for domain in board.domains.values())
        assert all(0 <= hz <= 4 * highest for hz in applied), path
        del kernel.answers[path]
        board.apply(lowest)
        board.close()
        assert kernel.snapshot() == before, path
        assert kernel.requests() == requests, path
