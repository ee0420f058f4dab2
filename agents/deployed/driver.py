"""Who drives the board: its policy and, while that fails, the board's own governors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from agents.deciders.base import axis_sizes, top_clocks
from agents.deployed.board_decider import BoardDecider
from agents.deployed.concurrent import PATIENCE_S, ConcurrentDecider, Decision
from agents.errors import AgentError, PolicyError
from common import command
from envs.live.plant import LivePlant
from envs.plant import Indices
from hw.errors import HardwareError

logger = logging.getLogger(__name__)

STUCK_S = 5.0
"""A policy that has not decided for so long has failed; learned ones take milliseconds."""
FIRST_S = 60.0
"""The same before its first decision, for which code of one's own may have to load much."""
RETRY_S, LONGEST_RETRY_S = 10.0, 600.0
"""After which a policy that failed is tried again, twice as long after each time it fails again."""
STEADY_S = 60.0
"""A policy that has decided for so long counts as mended."""


class _StuckError(PolicyError):
    """A policy does not decide."""


class Driver:
    """Decisions of a policy or, while it fails, of what stands in for it.

    It fails when it raises an error, chooses what is no action, or has not decided for `STUCK_S`.
    Then the board's own governors have the clocks and the network runs on the board alone, until
    the policy, begun anew, decides again. One that never decided is not stood in for, as it would
    not begin to, nor one for which this process lacks memory or threads, as the rest lacks them.

    Args:
        begin: makes what decides, with nothing remembered.
        plant: the board.
        tell: takes one sentence.
        clock: monotonic seconds.

    Attributes:
        promised: what keeps a promise, if the policy does.
        failure: why the policy is stood in for; None while it decides.
        n_failures: of the policy, so far.
        stood_in_s: time for which it was stood in for, s.
    """

    def __init__(
        self,
        begin: Callable[[], BoardDecider],
        plant: LivePlant,
        *,
        tell: Callable[[str], object] = logger.warning,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._begin, self._plant, self._tell, self._clock = begin, plant, tell, clock
        self._sizes = np.array(axis_sizes(plant.layout))
        self._on_board = top_clocks(plant.layout, 1)[0]  # also in force after a reset
        self._governed = ExitStack()
        self._has_decided = False
        self._good_since_s = clock()
        self._retry_s, self._wait_s = 0.0, RETRY_S
        self._failed_s = self._step_s = 0.0
        self.failure: str | None = None
        self.n_failures, self.stood_in_s = 0, 0.0
        self._begin_anew()

    def __enter__(self) -> Driver:
        """Enter the context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the policy's thread; the plant gives the board back.

        Raises:
            AgentError: a decision does not come to its end.
        """
        with self._governed:  # whose clocks are taken again, whatever becomes of the thread
            self._concurrent.close()

    def decide(self, observation: NDArray[np.float32]) -> Decision:
        """The decision for an observation, or the newest one where that takes too long.

        Raises:
            Exception: what the policy raised, where it is not stood in for.
            HardwareError: the clocks cannot be taken from the governors again.
        """
        now_s = self._clock()
        if self.failure is not None:
            self.stood_in_s += now_s - self._step_s
        self._step_s = now_s
        if self.failure is None or now_s >= self._retry_s:
            try:
                decision = self._of_policy(observation)
            except Exception as error:
                if not self._has_decided or command.lack(error) is not None:
                    raise
                self._failed(error)
            else:
                if decision is not None:
                    self._decides()
                    return decision
        return Decision(self._on_board, 0.0)

    def account(self, asked: int, late: int) -> None:
        """Tell the policy of requests that ended in a step that it decided on."""
        if self.failure is None:
            self._concurrent.account(asked, late)

    def _begin_anew(self) -> None:
        decider = self._begin()
        self.promised = decider.promised
        self._concurrent = ConcurrentDecider(decider, self._on_board)
        self._number, self._decided_s = 0, self._clock()

    def _of_policy(self, observation: NDArray[np.float32]) -> Decision | None:
        """Its newest decision; None while one that failed has made none since.

        Raises:
            PolicyError: it is none, or there was none for too long.
            Exception: what the policy raised.
        """
        if self._concurrent.has_ended:
            self._begin_anew()
        self._concurrent.post(observation)
        decision = self._concurrent.wait(PATIENCE_S)
        if decision.number != self._number:
            self._check(decision.action)
            self._number, self._decided_s, self._has_decided = decision.number, self._clock(), True
            return decision
        longest_s = STUCK_S if self._has_decided else FIRST_S
        if self._clock() - self._decided_s > longest_s:
            raise _StuckError(f"the policy has not decided for {longest_s:g} s")
        return decision if self.failure is None else None

    def _check(self, action: Indices) -> None:
        is_whole = np.issubdtype(action.dtype, np.integer) and action.shape == self._sizes.shape
        if not is_whole or not ((action >= 0) & (action < self._sizes)).all():
            raise PolicyError(f"the policy chose {action.tolist()}, which is no action here")

    def _failed(self, error: Exception) -> None:
        """Let the governors drive, or go on doing so."""
        now_s = self._clock()
        was_good = self.failure is None and now_s - self._good_since_s >= STEADY_S
        is_first = self.n_failures == 0
        self._wait_s = RETRY_S if was_good or is_first else min(2 * self._wait_s, LONGEST_RETRY_S)
        self._retry_s = now_s + self._wait_s
        self.n_failures += 1
        if not isinstance(error, _StuckError):
            with suppress(AgentError):  # it hangs now; like one that is stuck it may come round
                self._concurrent.close()
        is_known = isinstance(error, AgentError)
        reason = str(error) if is_known else f"{type(error).__name__}: {error}"
        if reason != self.failure:
            meanwhile = self._stand_in()
            self._tell(f"{reason}; {meanwhile} until it decides again")
        self.failure = reason

    def _stand_in(self) -> str:
        """Give the clocks back, if they are not yet; what happens meanwhile, in words."""
        here = "the network runs on this board alone"
        if self.failure is not None:
            return "it is still stood in for"
        self._failed_s = self._step_s
        try:
            self._governed.enter_context(self._plant.clocks_given_back())
        except HardwareError as error:
            return f"clocks stay at the highest, as they cannot be given back ({error}), and {here}"
        return f"the board's own governors have the clocks, and {here}"

    def _decides(self) -> None:
        if self.failure is None:
            return
        self.failure = None
        self._governed.close()
        self._good_since_s = self._step_s
        stood_in_s = self._step_s - self._failed_s
        self._tell(f"the policy decides again, after it was stood in for during {stood_in_s:.0f} s")
