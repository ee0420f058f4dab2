"""The first signal that asks to end is never lost, whichever thread the kernel gives it to."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from common.first_signal import FirstSignal

NUMBER = signal.SIGUSR1


@pytest.fixture
def stop():
    with FirstSignal([NUMBER]) as stop:
        yield stop


def test_one_that_came_before_the_wait(stop):
    signal.raise_signal(NUMBER)
    assert stop.wait()
    assert stop.number == NUMBER


def test_one_that_another_thread_gets_wakes_the_main_one(stop):
    other = threading.Thread(target=time.sleep, args=(1.0,))
    other.start()
    timer = threading.Timer(0.1, lambda: signal.pthread_kill(other.ident, NUMBER))
    timer.start()
    start_s = time.monotonic()
    assert stop.wait(5.0)
    assert time.monotonic() - start_s < 0.9
    other.join()
    timer.join()


def test_none_within_the_time(stop):
    assert not stop.wait(0.01)
    assert stop.number is None


def test_the_first_counts_and_the_next_harm_nothing(stop):
    for _ in range(1000):
        signal.raise_signal(NUMBER)
    assert stop.wait(0.0)
    assert stop.wait(0.0)


def test_signals_of_others_do_not_end_the_wait(stop):
    came = []
    before = signal.signal(signal.SIGUSR2, lambda *_: came.append(1))
    try:
        threading.Timer(0.05, lambda: signal.raise_signal(signal.SIGUSR2)).start()
        assert not stop.wait(0.3)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert came


def test_afterwards_all_is_as_it_was():
    before = signal.getsignal(NUMBER)
    with FirstSignal([NUMBER]):
        assert signal.getsignal(NUMBER) is not before
    assert signal.getsignal(NUMBER) is before
    assert signal.set_wakeup_fd(-1) == -1
