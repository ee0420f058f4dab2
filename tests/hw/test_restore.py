from __future__ import annotations

import pytest

from hw.errors import HardwareError
from hw.restore import RestoreStack


def test_undone_last_first_and_only_once():
    done = []
    stack = RestoreStack()
    stack.push("a", lambda: done.append("a"))
    stack.push("b", lambda: done.append("b"))
    stack.restore()
    stack.restore()
    assert done == ["b", "a"]


def test_goes_on_after_failures_and_names_them_all():
    done = []

    def fail() -> None:
        raise HardwareError("stuck; pull the plug")

    stack = RestoreStack()
    stack.push("first", lambda: done.append("first"))
    stack.push("second", fail)
    stack.push("third", fail)
    with pytest.raises(HardwareError, match=r"third \(stuck.*second \(stuck"):
        stack.restore()
    assert done == ["first"]
