"""Recorded link rates, read and described as a random process.

Two formats: CSV with the columns `second,mbps`, and Mahimahi's, one line per delivered
1,500-byte packet holding its millisecond (Netravali et al., USENIX ATC 2015). Further columns of a
CSV tell several recordings in it apart.

`python -m envs.scenarios.link_trace FILE` prints the `[link.rate_mbps]` table of a scenario.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common import command
from common.regular_file import read_text
from envs.arrays import Floats
from envs.errors import EnvError, ScenarioError
from envs.scenarios.signals import KNOT_PERIOD_S, fit

MAHIMAHI_PACKET_BYTES = 1500
MIN_SECONDS = 10
MAX_SECONDS = 10_000_000
"""Longer ones are a mistake, and would fill the memory."""
N_SHOWN = 2
MAX_MBPS = 1e7
"""Ten times the fastest link that is sold; faster ones are a mistake, too."""


def read_trace(path: Path, where: Mapping[str, str] | None = None) -> Floats:
    """Read a link trace.

    Args:
        path: of the file.
        where: value of further columns of a CSV that holds several recordings.

    Returns:
        Uplink rate in bit/s for each second, shape (n_seconds,).

    Raises:
        ScenarioError: missing, unreadable, too short, or a line is not in either format; several
            recordings fit, or none.
    """
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise ScenarioError(f"link trace {path} does not exist; give the path of a file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(
            f"link trace {path} cannot be read ({error}); give a text file"
        ) from None
    lines = [line for line in text.splitlines() if line.strip()]
    is_csv = bool(lines) and "," in lines[0]
    try:
        rate_bps = _from_csv(lines, path, where or {}) if is_csv else _from_mahimahi(lines)
    except (ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
        raise ScenarioError(
            f"link trace {path} is malformed ({error}); use CSV with columns second,mbps or one "
            f"millisecond per line as Mahimahi does"
        ) from None
    if len(rate_bps) < MIN_SECONDS:
        raise ScenarioError(
            f"link trace {path} covers {len(rate_bps)} s; give at least {MIN_SECONDS} s"
        )
    return rate_bps


def _from_csv(lines: list[str], path: Path, where: Mapping[str, str]) -> Floats:
    table = list(csv.DictReader(lines))
    if not table:
        raise ValueError("no row below the header")
    if stray := sorted(where.keys() - table[0].keys()):
        raise ScenarioError(f"link trace {path} has no column {stray[0]!r}; correct trace_where")
    rows = [row for row in table if all(row[name] == value for name, value in where.items())]
    seconds = np.array([float(row["second"]) for row in rows])
    mbps = np.array([float(row["mbps"]) for row in rows])
    ascends = bool((np.diff(seconds) > 0).all())
    if choices := _choices(table) if not rows or not ascends else "":
        raise ScenarioError(
            f"link trace {path} holds {'several recordings' if rows else 'no such recording'}; "
            f"choose one by trace_where (--where), such as {choices}"
        )
    if not ascends:
        raise ValueError("seconds must ascend; keep one trace per file")
    if not ((mbps >= 0).all() and (mbps <= MAX_MBPS).all()):
        raise ValueError(f"mbps must be finite, >= 0 and <= {MAX_MBPS:g}")
    if not seconds[-1] - seconds[0] <= MAX_SECONDS:
        raise ValueError(f"it spans more than {MAX_SECONDS} s")
    grid = np.arange(seconds[0], seconds[-1] + KNOT_PERIOD_S / 2, KNOT_PERIOD_S)
    return np.asarray(np.interp(grid, seconds, mbps) * 1e6, dtype=np.float64)


def _choices(table: list[dict[str, str]]) -> str:
    """Tables of the values that tell recordings of a file apart; empty if none do."""
    columns = [name for name in table[0] if name not in ("second", "mbps")]
    columns = [name for name in columns if 2 * len({row[name] for row in table}) <= len(table)]
    found = list(dict.fromkeys(tuple(row[name] for name in columns) for row in table))
    if len(found) < 2:
        return ""
    shown = [
        f"{{ {', '.join(f'{n} = {json.dumps(v)}' for n, v in zip(columns, one, strict=True))} }}"
        for one in found[:N_SHOWN]
    ]
    return f"{' or '.join(shown)} ({len(found)} in all)"


def _from_mahimahi(lines: list[str]) -> Floats:
    milliseconds = np.array([int(line) for line in lines], dtype=np.int64)
    if len(milliseconds) == 0 or (milliseconds < 0).any():
        raise ValueError("no packet, or a negative millisecond")
    if milliseconds.max() // 1000 > MAX_SECONDS:
        raise ValueError(f"it spans more than {MAX_SECONDS} s")
    n_seconds = int(milliseconds.max() // 1000)  # the last second may be cut short
    packets = np.bincount(milliseconds // 1000, minlength=n_seconds)[:n_seconds]
    return np.asarray(packets * (MAHIMAHI_PACKET_BYTES * 8.0), dtype=np.float64)


def _choice(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not COLUMN=VALUE")
    return name, value


def main(argv: list[str] | None = None) -> int:
    """Print the fitted process of the traces named on the command line, pooled."""
    parser = argparse.ArgumentParser(
        prog="python -m envs.scenarios.link_trace", description=main.__doc__
    )
    parser.add_argument("file", nargs="+", type=Path, help="second,mbps or Mahimahi")
    parser.add_argument(
        "--where",
        nargs="+",
        type=_choice,
        default=[],
        metavar="COLUMN=VALUE",
        help="which recording of a CSV that holds several",
    )
    arguments = parser.parse_args(argv)
    where = dict(arguments.where)
    try:
        signal = fit(np.concatenate([read_trace(path, where) for path in arguments.file]) / 1e6)
    except EnvError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    quantiles = ", ".join(f"{q:.3g}" for q in signal.quantiles)
    sys.stdout.write(
        f"[link.rate_mbps]\nquantiles = [{quantiles}]\n"
        f"correlation_time_s = {signal.correlation_time_s:.2f}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
