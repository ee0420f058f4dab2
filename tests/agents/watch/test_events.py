"""The last events of a process, from its own logging."""

from __future__ import annotations

import logging
import threading

from agents.watch.events import EventLog, events_kept

logger = logging.getLogger("somebody")


def test_warnings_are_kept_and_chatter_is_not():
    with events_kept() as events:
        logger.warning("the sensor failed %d times", 3)
        logger.info("nothing of note")
        logger.error("it is gone")
    logger.warning("nobody listens any more")
    kept = [(event["level"], event["text"]) for event in events.document()]
    assert kept == [("warning", "the sensor failed 3 times"), ("error", "it is gone")]


def test_only_the_last_are_kept_and_none_is_endless():
    log = EventLog(lambda: 0.0)
    for i in range(1000):
        log.add(f"{i} " + 10_000 * "x")
    kept = log.document()
    assert kept[-1]["text"].startswith("999 ")
    assert len(kept) == 100
    assert max(len(event["text"]) for event in kept) == 1000


def test_a_message_that_does_not_fit_its_arguments_ends_nothing(capsys):
    log = EventLog(lambda: 0.0)  # by itself: pytest's own handler raises
    for message, arguments in (("%d of %d", (1,)), ("still here", ())):
        log.handle(logging.LogRecord("a", logging.ERROR, "b.py", 1, message, arguments, None))
    assert [event["text"] for event in log.document()] == ["still here"]
    assert "not enough arguments" in capsys.readouterr().err


def test_what_cannot_be_shown_ends_nothing(capsys):
    class Strange:
        def __str__(self):
            raise ZeroDivisionError

    log = EventLog(lambda: 0.0)
    log.handle(logging.LogRecord("a", logging.ERROR, "b.py", 1, "%s", (Strange(),), None))
    assert log.document() == []
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_threads_may_add_while_it_is_read():
    log = EventLog(lambda: 0.0)
    writers = [
        threading.Thread(target=lambda: [log.add(str(i)) for i in range(2000)]) for _ in range(4)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert len(log.document()) <= 100
    for writer in writers:
        writer.join()
    assert len(log.document()) == 100
