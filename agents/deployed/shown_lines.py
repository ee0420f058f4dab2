"""Lines that a service prints about itself, for people or for a collector of logs."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from agents.deployed.plain import plain
from hw.outage import Outage

TEXT, JSON = FORMATS = ("text", "json")
SERVICE = "dvfo"
_SEVERITIES = ((40, "ERROR", 17), (30, "WARN", 13), (20, "INFO", 9), (0, "DEBUG", 5))
"""From which level of the standard library on, and what OpenTelemetry's logs call it."""


class ShownLines:
    """Prints lines that need not be read for requests to be answered.

    Args:
        form: of them, `TEXT` or `JSON`.
    """

    def __init__(self, form: str = TEXT) -> None:
        self._is_json = form == JSON
        self._printing = Outage("printing what happens", "the service goes on unseen")

    def show(self, line: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Print one.

        Args:
            line: for people.
            attributes: plain values, which stand in `JSON` alone.

        Raises:
            BrokenPipeError: the reader of the output is gone.
        """
        try:
            print(json_line(line, attributes or {}) if self._is_json else line, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:  # a log on a full disk
            self._printing.failed(error)
        else:
            self._printing.worked()

    def fail(self, sentence: str) -> None:
        """Print why there is nothing more, where errors go."""
        line = (
            json_line(sentence, {}, level=logging.ERROR) if self._is_json else f"error: {sentence}"
        )
        print(line, file=sys.stderr)


class JsonFormatter(logging.Formatter):
    """Makes of a record of the standard library's logging what `json_line` makes of a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON; a traceback is an attribute."""
        attributes = {"logger": record.name}
        if record.exc_info:
            attributes["exception.stacktrace"] = self.formatException(record.exc_info)
        return json_line(
            record.getMessage(), attributes, level=record.levelno, now_s=lambda: record.created
        )


def json_line(
    body: str,
    attributes: Mapping[str, Any],
    *,
    level: int = logging.INFO,
    now_s: Callable[[], float] = time.time,
) -> str:
    """A record with the fields of OpenTelemetry's data model for logs, on one line.

    Args:
        body: for people.
        attributes: plain values; numbers that JSON does not have become null.
        level: of the standard library.
        now_s: time of day, s since 1970.
    """
    name, number = next((name, number) for least, name, number in _SEVERITIES if level >= least)
    record = {
        "timestamp": datetime.fromtimestamp(now_s(), timezone.utc).isoformat(),
        "severity_text": name,
        "severity_number": number,
        "body": body,
        "resource": {"service.name": SERVICE},
        "attributes": plain(attributes),
    }
    return json.dumps(record, allow_nan=False)
