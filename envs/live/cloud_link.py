"""The link to the cloud as the control loop sees it, present or absent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from envs.scenarios.episodes import MIN_LINK_BPS
from envs.sim.sensors import PROBE_PERIOD_S
from hw.outage import Outage
from partition.edge.client import CloudClient, LinkEstimate
from partition.edge.pipeline import InferenceResult
from partition.errors import CloudAccessError, CloudError, ModelMismatchError

logger = logging.getLogger(__name__)

NO_CLOUD_RTT_S = 1.0
"""Round trip shown for a cloud that does not answer; the top of the observation."""
_DEAD = LinkEstimate(MIN_LINK_BPS, NO_CLOUD_RTT_S, age_s=0.0, server_load=0.0)
_NEVER = (CloudAccessError, ModelMismatchError)
"""What a person has to mend; everything else may be over a moment later: no route yet, no name yet,
a server or a gateway that starts or is full."""


class CloudLink:
    """Follows whether the cloud answers; a client without one is a link that is dead.

    Args:
        client: None where everything stays on the board.
        clock: present time, s.
    """

    def __init__(
        self, client: CloudClient | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._outage = Outage(
            "asking the cloud",
            "requests are served on the board alone until it answers",
            tell=logger.warning,
            clock=clock,
        )
        self._told: set[type[CloudError]] = set()

    @property
    def is_there(self) -> bool:
        """Whether there is a cloud that may be asked."""
        return self._client is not None

    @property
    def known(self) -> LinkEstimate | None:
        """Estimate of the link; None before its rate is known and while no cloud answers."""
        return self._client.link if self._client is not None else None

    @property
    def estimate(self) -> LinkEstimate:
        """Of rate, round trip and load; a cloud that does not answer looks like a dead link."""
        return self.known or _DEAD

    def server_flops_per_s(self, usual: float) -> float:
        """Speed of the idle server as its replies show it, see `CloudClient.server_flops_per_s`.

        Args:
            usual: what it is taken for before there were any.
        """
        if self._client is None:
            return usual
        return self._client.server_flops_per_s(usual)

    def greet(self) -> None:
        """Compare models and measure the link, or begin without a cloud that is not there yet.

        Raises:
            ModelMismatchError: it holds another model.
            CloudAccessError: it does not let this board ask.
        """
        if self._client is None:
            return
        try:
            self._client.connect()
            self._client.probe()
        except _NEVER:
            raise
        except CloudError as error:
            self._failed(error)

    def refresh(self, *, is_idle: bool) -> None:
        """Measure the link in the background where no request does, or where that is long ago."""
        if self._client is not None and (is_idle or self.estimate.age_s >= PROBE_PERIOD_S):
            self._client.refresh()

    def watch(self, results: Sequence[InferenceResult]) -> None:
        """Report when the cloud stops serving, for another reason, and when it serves again.

        Args:
            results: of the last control step.
        """
        if self._client is None:
            return
        refusal, fallbacks = self._client.refusal, [r.fallback for r in results if r.fallback]
        if self._client.link is None:
            self._failed(refusal or next(iter(fallbacks), "it does not answer"))
        elif refusal is None or any(result.served_by == "cloud" for result in results):
            self._outage.worked()
            self._told.clear()
        elif fallbacks:
            self._failed(refusal)

    def _failed(self, reason: CloudError | str) -> None:
        """Count a failure, and report a refusal of another kind than before while they last."""
        if isinstance(reason, CloudError) and type(reason) not in self._told:
            self._told.add(type(reason))
            if self._outage.is_on:
                logger.warning("the cloud serves nothing, for another reason now: %s", reason)
        self._outage.failed(reason)

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
