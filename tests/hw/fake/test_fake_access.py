"""A child process reaches the fake kernel of its parent, and can be killed on the way."""

from __future__ import annotations

import signal

import pytest

from tests.hw.fake.access import Kill, run_child
from tests.hw.fake.kernel import FakeKernel
from tests.hw.fake.testing import TABLE_KHZ, policy_of


@pytest.mark.parametrize("after_effect", [False, True])
def test_a_child_is_killed_at_an_access_and_the_kernel_lives_on(tmp_path, after_effect):
    kernel, policy = policy_of("new")

    def body(sysfs):
        for khz in TABLE_KHZ:
            sysfs.write_text(sysfs.path(f"{policy.folder}/scaling_min_freq"), str(khz))

    outcome = run_child(kernel, tmp_path, body, Kill(at_access=2, after_effect=after_effect))
    assert outcome.was_killed
    assert len(outcome.accesses) == 3
    assert policy.user_min_khz == TABLE_KHZ[2 if after_effect else 1]
    assert run_child(kernel, tmp_path, body).exit_code == 0
    assert policy.user_min_khz == TABLE_KHZ[3]


def test_a_child_may_handle_a_gentle_signal(tmp_path):
    kernel, policy = policy_of("new")
    path = f"{policy.folder}/scaling_min_freq"

    def body(sysfs):
        def undo(*_):
            raise SystemExit(7)

        signal.signal(signal.SIGTERM, undo)
        try:
            while True:
                sysfs.write_text(sysfs.path(path), "1000000")
        finally:
            sysfs.write_text(sysfs.path(path), "600000")

    kill = Kill(at_access=3, signal_number=signal.SIGTERM)
    assert run_child(kernel, tmp_path, body, kill).exit_code == 7
    assert policy.user_min_khz == 600_000


def test_what_a_child_raises_is_reported(tmp_path):
    kernel = FakeKernel()
    kernel.commands["vcgencmd get_throttled"] = "throttled=0x0\n"
    outcome = run_child(kernel, tmp_path, lambda sysfs: sysfs.read_text(sysfs.path("sys/none")))
    assert outcome.exit_code == 1
    assert "UnsupportedError" in outcome.error
    outcome = run_child(kernel, tmp_path, lambda sysfs: sysfs.run(["vcgencmd", "get_throttled"]))
    assert outcome.error == ""


def test_a_signal_waits_for_the_end_of_an_access_and_its_handler_may_access(tmp_path):
    kernel, policy = policy_of("new")
    path = f"{policy.folder}/scaling_min_freq"
    seen = []

    def body(sysfs):
        signal.signal(signal.SIGTERM, lambda *_: sysfs.write_text(sysfs.path(path), "600000"))
        for _ in range(3):
            seen.append(sysfs.read_text(sysfs.path(path)))
        assert seen == ["1000000", "1000000", "600000"]

    policy.user_min_khz = 1_000_000
    kill = Kill(at_access=1, signal_number=signal.SIGTERM)
    outcome = run_child(kernel, tmp_path, body, kill)
    assert outcome.error == ""
    assert [operation for operation, _ in outcome.accesses] == ["read", "read", "write", "read"]


def test_a_child_may_be_killed_at_any_time(tmp_path):
    kernel, policy = policy_of("new")

    def body(sysfs):
        while True:
            sysfs.read_text(sysfs.path(f"{policy.folder}/scaling_min_freq"))

    assert run_child(kernel, tmp_path, body, Kill(after_s=0.01)).was_killed
