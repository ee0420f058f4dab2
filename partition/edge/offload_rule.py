"""Rule for a request that is meant for the cloud: whether to send it, and how long to wait.

Functions of seconds alone, for numbers and for arrays that broadcast: the pipeline asks them for a
request, the simulator for every action of thousands of boards. So what a policy learns is what
a board does.

A request that does not come back is finished on the board. While that still fits into the
deadline, the time for it is kept back. Where it does not fit, the answer will be late either way,
and waiting for as long as finishing here would take is at most twice as bad as having known (the
ski rental problem): a board at its lowest clocks that gave up at the deadline would compute for
half a second and hold up all that wait behind, for a cloud that was a few milliseconds late.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[Any] | float

SLACK = 1.2
"""Time kept back for the board, over what finishing there is expected to take."""
SLACK_S = 0.0005
CONFIDENT = 1.6
"""An answer is awaited for so many times what it is expected to take, if that is within the
deadline."""
SOON = 1.1
"""An answer is about to come in time if so many times what it is expected to take is left. At 1,
where it is expected at the deadline, half of the answers are late and are computed once more here.
Over the thirteen scenarios 1.1 saves `max-cloud` 1.7 % of its cost, `model-search` 0.1 %."""
HOPELESS = 1.5
"""An answer that is expected to take so many times what there is to wait is not asked for. Above 1
because estimates of a link are wrong by a quarter now and then, and only sending corrects them."""


def patience_s(left_s: Seconds, finish_s: Seconds, expected_s: Seconds) -> npt.NDArray[Any]:
    """Time to wait for the cloud before the board finishes by itself.

    Args:
        left_s: until the deadline; negative once it has passed.
        finish_s: that the board is expected to need for the rest, at the clocks in force.
        expected_s: until the cloud's answer, from the estimates of link and server.
    """
    kept_s = SLACK * finish_s + SLACK_S
    usual_s = np.where(kept_s < left_s, left_s - kept_s, np.maximum(left_s, finish_s))
    # An answer that is about to come in time is worth more than the certainty of one from here.
    soon_s = np.where(
        SOON * expected_s < left_s, np.minimum(left_s, CONFIDENT * expected_s), usual_s
    )
    return np.asarray(np.maximum(usual_s, soon_s))


def is_hopeless(expected_s: Seconds, patience_s: Seconds) -> npt.NDArray[np.bool_]:
    """Whether a request is better not sent.

    Args:
        expected_s: until the cloud's answer, from the estimates of link and server.
        patience_s: see the function of that name.
    """
    return np.asarray(expected_s > HOPELESS * patience_s)
