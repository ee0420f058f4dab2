"""How often stages move for what is measured."""

from __future__ import annotations

from partition.placement.run.move_pace import FIRST_S, MOST_S, MovePace


def test_moves_that_follow_at_once_wait_longer_and_longer_up_to_a_limit():
    now_s = [100.0]
    pace = MovePace(lambda: now_s[0])
    assert pace.allows
    waited_s = []
    for _ in range(9):
        pace.moved()
        began_s = now_s[0]
        while not pace.allows:
            now_s[0] += FIRST_S
        waited_s.append(now_s[0] - began_s)
    assert waited_s == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    now_s[0] += MOST_S
    pace.moved()
    now_s[0] += FIRST_S
    assert pace.allows
