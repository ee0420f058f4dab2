"""Pages of the live runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.live import changes
from benchmarks.live.actions import DISTURBED
from benchmarks.live.actions import KEY as ACTION_KEY
from benchmarks.live.changes import KEY as CHANGE_KEY
from benchmarks.live.comparison import BARS, RELATIVE, Compared, compared, swapped
from benchmarks.live.course import RECORDING
from benchmarks.live.deciders import LEARNED, NAMES
from benchmarks.live.estimates import KEY as ESTIMATE_KEY
from benchmarks.live.plan import BOARDS, EMULATED, SIM
from benchmarks.live.policies import KEY as POLICY_KEY
from benchmarks.live.readings import CLOSE, READ, readings_table
from benchmarks.live.rows import Row
from benchmarks.page import machine, markdown

_WORDS = {
    SIM: f"a modelled {BOARDS[SIM]}",
    EMULATED: "this machine slowed down, its power modelled; predicted from a calibration",
}
_FIGURES = {"ms": ("latency_s", 1e3), "p95 ms": ("p95_s", 1e3), "in time": ("in_time", 1.0)}
_FIGURES |= {"J": ("energy_j", 1.0), "cost": ("cost", 1.0), "fallbacks": ("fell_back", 1.0)}
_HEAD = ["runs", "requests", "control off %"]
_HEAD += [word for name in _FIGURES for word in (f"{name}: live", "simulated")]


def actions_page(rows: Sequence[Row]) -> str:
    """Medians over the repeats of each cell, and whether they meet the bars."""
    cells = compared(rows, ACTION_KEY[:-1])
    missed = {key: found.missed(RELATIVE, or_interval=True) for key, found in cells.items()}
    by_board = {
        board: {key: found for key, found in cells.items() if key[0] == board} for board in _WORDS
    }
    parts = []
    for board, found in by_board.items():
        if not found:
            continue
        head = ["action", "Mbit/s", "rtt ms", *_HEAD, "missed"]
        lines = [[*key[1:], *_line(c), ", ".join(missed[key]) or "-"] for key, c in found.items()]
        n_met = sum(not missed[key] for key in found)
        parts.append(f"## Board {board}, {_WORDS[board]}\n")
        parts.append(f"{n_met} of {len(found)} cells meet all bars.\n")
        parts.append(f"{markdown([head, *lines])}\n")
    body = "\n".join(parts)
    return f"""# Live runs beside the simulator: fixed actions

    python -m benchmarks.live actions

Medians over the runs of a cell: the real pipeline, a real server, and a link of exact rate and
delay, on each board; and the simulator for the same requests and link, with the measured speeds of
the server's replies and the measured time of pictures, codec and messages, which a modelled board
leaves as it is. How the replies scattered is taken from the run itself. Bars: latency within 10 %,
share in time within 2 points or the interval of the runs, energy and cost within 5 %.
{sum(not each for each in missed.values())} of {len(cells)} cells meet all of them.

{_disturbed(rows)}

![live over simulated](live-actions.png)

{body}
On

{machine()}
"""


def policies_page(rows: Sequence[Row], readings: Sequence[Row]) -> str:
    """Policies and other deciders by link, their order, and what they saw."""
    cells = compared(rows, POLICY_KEY[:-1])
    missed = {key: found.missed(BARS) for key, found in cells.items()}
    parts: list[str] = []
    all_wrong: list[str] = []
    n_pairs = 0
    for link in dict.fromkeys(key[0] for key in cells):
        found = {key[1]: c for key, c in cells.items() if key[0] == link}
        head = ["decider", *_HEAD, "missed"]
        order = sorted(found, key=lambda name: found[name].simulated("cost"))
        lines = [
            [name, *_line(found[name]), ", ".join(missed[link, name]) or "-"] for name in order
        ]
        n, wrong = swapped(found)
        n_pairs, all_wrong = n_pairs + n, all_wrong + wrong
        told = "; ".join(wrong) or "none swapped"
        parts.append(f"## {link}\n\n{markdown([head, *lines])}\n")
        parts.append(f"Order by cost, of {n} pairs more than 3 % apart in simulation: {told}.\n")
    body, n_met = "\n".join(parts), sum(not each for each in missed.values())
    there = {key[1] for key in cells}
    trained = " and ".join(f"`{name}`" for name in LEARNED if name in there)
    absent = ", ".join(f"`{name}`" for name in NAMES if name not in there)
    return f"""# Live runs beside the simulator: who decides

    python -m benchmarks.live policies

Medians over the runs of a cell, p95 of all requests of its runs together: the real pipeline, a
real server, a link whose rate is exact at every moment, on a modelled TX2; and the simulator for
the same requests and link, with the measured speeds of the server and time of pictures,
codec and messages, which a modelled board leaves as it is. How the replies scattered is taken from
the run itself, so that of p95 a part agrees by itself. Trained
in all scenarios: {trained or "nobody"}; the others were fitted to the link.
Not run: {absent or "nobody"}. The recorded link is `{RECORDING.name}`, to which nothing was
fitted. Bars: share in time within 2 points, p95 within 15 %, cost within 5 %.
{n_met} of {len(cells)} cells meet all of them.
{n_pairs - len(all_wrong)} of {n_pairs} pairs of deciders whose simulated costs differ by more than
3 % come in that order live.

{_disturbed(rows)}

![live and simulated](live-policies.png)

{body}
{_readings(readings)}
On

{machine()}
"""


def _line(found: Compared) -> list[str]:
    line = [str(len(found.rows)), str(found.n_requests)]
    line.append(f"{100 * found.median('control_off'):+.1f}")
    for name, factor in _FIGURES.values():
        line += [f"{factor * found.live(name):.3g}", f"{factor * found.simulated(name):.3g}"]
    return line


def _disturbed(rows: Sequence[Row]) -> str:
    disturbed = sum(abs(float(row["control_off"])) > DISTURBED for row in rows)
    again = sum(int(row["tries"]) - 1 for row in rows)
    return (
        f"Of {len(rows)} runs, {again} were taken again because the control before them was off by "
        f"more than 3 %, and {disturbed} remained so."
    )


def _readings(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    links = list(dict.fromkeys(row["link"] for row in rows))
    tables = "\n".join(f"### {link}\n\n{readings_table(rows, link)}\n" for link in links)
    return f"""## What they read

Median and 5 to 95 % of the control steps, medians over the runs; bold where the medians are more
than {CLOSE:.0%} apart. Of {", ".join(READ)}: one that moves, one that never sends, one that always
does.

![readings of advised](live-readings.png)

{tables}"""


def estimates_page(rows: Sequence[Row]) -> str:
    """Medians over the repeats of each cell."""
    lines = [
        ["sends", "Mbit/s", "rtt ms", "runs", "median", "within 10 %", "within 25 %", "rtt read ms"]
    ]
    n_met = 0
    for key, found in compared(rows, ESTIMATE_KEY[:-1]).items():
        median, close = found.median("median"), found.median("within_25")
        n_met += abs(median - 1.0) <= 0.1 and close >= 0.9
        shown = (median, found.median("within_10"), close)
        line = [*key, str(len(found.rows)), *(f"{value:.2f}" for value in shown)]
        lines.append([*line, f"{found.median('rtt_read_ms'):.1f}"])
    return f"""# What a board takes a link for

Estimated over true rate of messages, read once per control step, medians over runs. Bars: median
within 10 %, 90 % of the readings within 25 %. {n_met} of {len(lines) - 1} cells meet both. Board
and server go before all else that the machine does: a late processor is not to be measured.

{markdown(lines)}

`python -m benchmarks.live estimates` on

{machine()}
"""


def changes_page(rows: Sequence[Row]) -> str:
    """How many requests each kind of change surprised, and after how long it was known."""
    head = ["sends", "Mbit/s", "to", "rtt ms", "changes", "known after s", "the slowest"]
    lines = [[*head, "requests until then", "the most", "right afterwards"]]
    n_met = n_all = 0
    for key, found in compared(rows, CHANGE_KEY[:-1]).items():
        known_s = [float(row["known_s"]) for row in found.rows]
        surprised = [int(row["surprised"]) for row in found.rows]
        n_all += len(found.rows)
        n_met += sum(
            s <= changes.KNOWN_S if n == 0 else n == 1
            for n, s in zip(surprised, known_s, strict=True)
        )
        line = [*key, str(len(found.rows)), f"{np.median(known_s):.2f}", f"{max(known_s):.2f}"]
        line += [f"{np.median(surprised):.1f}", str(max(surprised))]
        lines.append([*line, f"{found.median('right_after'):.2f}"])
    return f"""# When a board knows of a change

The rate of a link changes by ten times. Known: the estimate is within 25 % of the new rate, as it
is read at each control step and before each request. Requests until then: sent on the new link,
with 0.1 s for an answer. Bar: one at most, and where none is sent {changes.KNOWN_S:g} s at most,
the period in which an idle link is probed. {n_met} of {n_all} changes meet it; a second
request leaves where the first one and a train after it take longer than the 0.1 s between two.
Right afterwards: share of the later readings within 25 %.

{markdown(lines)}

`python -m benchmarks.live changes` on

{machine()}
"""
