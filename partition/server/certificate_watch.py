"""A server's warning before its certificate ends, at the start and every day from then on."""

from __future__ import annotations

import datetime
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509

from common.regular_file import read_bytes
from partition.errors import CloudError

logger = logging.getLogger(__name__)

_WARN_BEFORE = datetime.timedelta(days=30)
_PERIOD_S = 24 * 3600.0


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


class CertificateWatch:
    """Warns of certificates that end within thirty days, or have ended.

    Args:
        paths: certificates (chains) as PEM, as the server has read them: a file that is replaced
            later counts once the server is started again.
        now: the time, UTC.

    Raises:
        CloudError: one holds no certificate.
    """

    def __init__(self, paths: Sequence[Path], now: Callable[[], datetime.datetime] = _now) -> None:
        self._ends = {path: _end_of(path) for path in paths}
        self._now = now
        self._closed = threading.Event()

    def start(self) -> None:
        """Warn now, and every day."""
        self.warn()
        if self._ends:
            threading.Thread(target=self._watch, daemon=True, name="certificates").start()

    def close(self) -> None:
        """Warn no more."""
        self._closed.set()

    def warn(self) -> None:
        """Warn once of each that is near its end."""
        for path, end in self._ends.items():
            left = end - self._now()
            if left > _WARN_BEFORE:
                continue
            when = "has ended" if left.total_seconds() <= 0 else f"ends in {left.days} days"
            logger.warning(
                "%s %s (%s): make a new one with python -m partition.certificates and start the "
                "server again",
                *(path, when, end.date()),
            )

    def _watch(self) -> None:
        while not self._closed.wait(_PERIOD_S):
            self.warn()


def _end_of(path: Path) -> datetime.datetime:
    """When the first certificate of a chain to end does."""
    try:
        chain = x509.load_pem_x509_certificates(read_bytes(path))
    except (OSError, ValueError) as error:
        raise CloudError(
            f"{path} holds no certificate ({error}): make one with python -m partition.certificates"
        ) from error
    return min(each.not_valid_after_utc for each in chain)
