"""What keeping a promise costs while a board is driven, and whether it can be kept."""

from __future__ import annotations

import logging
from collections.abc import Callable

from agents.advised.promised import Promised
from agents.deployed.driver import Driver

logger = logging.getLogger(__name__)


class PromiseWatch:
    """Follows what keeps a promise, step by step, and says when it can no longer be kept.

    Args:
        driver: whose policy has to keep a promise.
        tell: takes one sentence.
    """

    def __init__(self, driver: Driver, *, tell: Callable[[str], object] = logger.warning) -> None:
        self._driver, self._tell = driver, tell
        self._extra_j, self._n_requests = 0.0, 0
        self._was_broken = False

    def add(self, n_requests: int) -> None:
        """A step ended, with so many requests; what the policy did not decide on costs nothing."""
        if self._driver.failure is None:
            self._extra_j += n_requests * float(self._promised.extra_j[0])
        self._n_requests += n_requests
        is_broken = self.is_broken
        if is_broken != self._was_broken:
            self._was_broken = is_broken
            self._tell(self._news(is_broken))

    def document(self) -> dict[str, float | None]:
        """Plain values: the share, and the energy per request that it is expected to cost."""
        extra_j = self._extra_j / self._n_requests if self._n_requests else None
        return {"share": self.share, "expected_extra_j": extra_j}

    @property
    def _promised(self) -> Promised:
        promised = self._driver.promised
        assert promised is not None, "a policy that keeps no promise is watched"
        return promised

    @property
    def share(self) -> float:
        """Of the requests, promised to be in time."""
        return self._promised.share

    @property
    def is_broken(self) -> bool:
        """Whether even the safest action is late too often at present."""
        return bool(self._promised.is_broken[0])

    def _news(self, is_broken: bool) -> str:
        if not is_broken:
            return f"{self._words} of the requests in time can be kept again"
        return (
            f"even the safest action keeps less than {self._words} of the requests in time at "
            "present; it is taken until that is over"
        )

    @property
    def _words(self) -> str:
        return f"{100 * self.share:g} %"
