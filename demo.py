"""Show a frozen policy at work: a real server, a real link at two rates, and the cut moves.

python demo.py [--run results/runs/<run>]; the board's clocks and power are modelled.
"""

from __future__ import annotations

from common import command

if __name__ == "__main__":
    command.begin()  # before what takes long to import

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.deployed.run_folder import RunFolder
from agents.errors import AgentError, RunFolderError
from partition.cli import add_providers_option
from partition.transport.shaped_link import ShapedLink

RUNS_DIR = Path("results/runs")
RATES_MBPS = (50.0, 0.5)
HALF_S = 10.0
SETTLING_S = 2.0
_LINE = re.compile(
    r"^ *(?P<second>[\d.]+) s .* cut (?P<cut>\S+) (\((?P<here>\d+) % finished here\) )?"
)
HERE = "none: the board answers"
"""Stands for the cut where most of what was to leave the board is finished on it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if the policy chose another cut on the slow link, 1 if not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, default=None, help="default: the newest finished run")
    add_providers_option(parser)
    arguments = parser.parse_args(argv)
    names = ",".join(provider.name for provider in arguments.providers or ())
    providers = ["--providers", names] if names else []
    try:
        run = RunFolder.load(arguments.run or newest_run())
    except AgentError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    serve = ["-m", "partition.server", "--model", run.model, "--listen", "127.0.0.1:0", *providers]
    with _started(serve) as (server, lines):
        first_line = next(lines, "")
        if not first_line:  # the server has said why on stderr
            return 2
        print(first_line, end="")
        with ShapedLink(int(first_line.rsplit(":", 1)[1]), 1e6 * RATES_MBPS[0]) as link:
            cuts, summary = _deploy(run, link, providers)
        server.terminate()
    if summary:
        print(_late(summary))
    return _verdict(cuts)


@contextmanager
def _started(words: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """Another command of ours with the lines it prints; what ends the block before it, ends it.

    In a session of its own, so that a terminal's signals come here alone; killed without a word,
    as only modelled boards are at stake.
    """
    with subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as process:
        try:
            yield process, iter(process.stdout or ())
        except BaseException:
            process.kill()
            raise


def newest_run() -> Path:
    """Newest run folder that holds a policy.

    Raises:
        RunFolderError: there is none.
    """
    policies = sorted(RUNS_DIR.glob("*/policy/policy.json"), key=lambda p: p.stat().st_mtime)
    if not policies:
        raise RunFolderError(f"no finished run in {RUNS_DIR}; run make train first")
    return policies[-1].parents[1]


def _deploy(
    run: RunFolder, link: ShapedLink, providers: Sequence[str]
) -> tuple[tuple[Counter[str], Counter[str]], dict[str, Any]]:
    """Run deploy.py, slow the link down half way, and count the cuts of both halves.

    Returns:
        the cuts, and the summary that deploy.py ends with, empty if it ended early.
    """
    command = ["-u", str(Path(__file__).with_name("deploy.py")), "--run", str(run.path)]
    options = ["--cloud", f"127.0.0.1:{link.port}", "--duration", str(2 * HALF_S), *providers]
    summary: dict[str, Any] = {}
    cuts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    print(f"link shaped to {RATES_MBPS[0]:g} Mbit/s")
    with _started([*command, *options, "--json"]) as (_, lines):
        for line in lines:
            if line.startswith("{"):
                summary = json.loads(line)
                continue
            print(line, end="", flush=True)
            match = _LINE.match(line)
            if match is None:
                continue
            second = float(match["second"])
            if second >= HALF_S and link.rate_bps != 1e6 * RATES_MBPS[1]:
                link.rate_bps = 1e6 * RATES_MBPS[1]
                print(f"link shaped to {RATES_MBPS[1]:g} Mbit/s", flush=True)
            elif second % HALF_S > SETTLING_S:
                cuts[second > HALF_S][_cut(match)] += 1
    return cuts, summary


def _cut(match: re.Match[str]) -> str:
    """The cut that most requests of a line crossed."""
    return HERE if int(match["here"] or 0) > 50 else match["cut"]


def _late(summary: dict[str, Any]) -> str:
    """Requests that were late, the change of the link included."""
    asked = summary["requests"] + summary["dropped"]
    share = 1.0 - (summary["deadline_hit_rate"] or 0.0)
    return f"{share * asked:.0f} of {asked} requests late ({share:.1%}), the link's change included"


def _verdict(cuts: tuple[Counter[str], Counter[str]]) -> int:
    if not all(cuts):
        print("deploy.py ended too early to compare the two links", file=sys.stderr)
        return 1
    chosen = [counter.most_common(1)[0][0] for counter in cuts]
    for rate, cut in zip(RATES_MBPS, chosen, strict=True):
        print(f"at {rate:g} Mbit/s, mostly cut after: {cut}")
    return int(chosen[0] == chosen[1])


if __name__ == "__main__":
    sys.exit(command.run(main))
