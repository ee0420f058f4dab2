"""Let a learned policy or a rule drive a board and a split network, and give the board back.

python deploy.py --run results/runs/<run> [--board sim] [--cloud HOST:PORT] [--duration 20]
python deploy.py --run results/runs/<run> --against governor|best-static|RUN2 [--minutes 20] ...
                                          prove on the board what the policy saves
python deploy.py status|top [HOST:PORT]   show what it does, where it was started with --metrics
"""

from __future__ import annotations

from common import command

if __name__ == "__main__":
    command.begin()  # before what takes long to import

import sys

from agents.watch.protocol import COMMANDS

if __name__ == "__main__" and sys.argv[1:2] and sys.argv[1] in COMMANDS:
    from agents.watch import commands

    sys.exit(command.run(commands.main))

import argparse
import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agents.comparison.arms import BEST_STATIC, GOVERNOR, arms, driver
from agents.comparison.proof import Proof
from agents.deployed.board_decider import BoardDecider, ended
from agents.deployed.driver import Driver
from agents.deployed.promise_watch import PromiseWatch
from agents.deployed.run_folder import RunFolder
from agents.deployed.service_totals import ServiceTotals
from agents.deployed.shown_lines import FORMATS, JSON, TEXT, JsonFormatter, ShownLines
from agents.deployed.stop_request import StopRequest
from agents.deployed.summary import Summary, live_attributes, live_line
from agents.deployed.transition_log import LARGEST_BYTES, TransitionLog
from agents.errors import AgentError, RunFolderError
from envs.edge_env import EdgeSplitEnv
from envs.errors import EnvError
from envs.live.make import make_live
from envs.live.plant import LivePlant
from envs.plant import Layout
from hw.base import Hold
from hw.boards.registry import SIMULATED, describe_boards
from hw.errors import HardwareError
from partition.cli import add_providers_option, inner_share, positive_number
from partition.errors import PartitionError
from partition.security.link_options import add_link_options, link_security

if TYPE_CHECKING:
    from agents.watch.watch import Watch

USER_ERRORS = (AgentError, EnvError, HardwareError, PartitionError)
LINE_PERIOD_S = 1.0
EPISODE_STEPS = 20_000
"""A new episode forgets the queue, so that they are long; over an hour of control steps."""
MINUTES = 20.0
"""Of a comparison: enough to show 3 % on a board whose power scatters as an Orin Nano's does."""


class Report(Protocol):
    """What a command ends with."""

    def text(self) -> str:
        """For people."""

    def document(self) -> dict[str, Any]:
        """Plain values."""


def main(argv: Sequence[str] | None = None, root: Path = Path("/")) -> int:
    """Run the command; user errors end in one sentence and exit code 2.

    Args:
        argv: command line without the program's name.
        root: where a real board looks for /sys.
    """
    arguments = _parser().parse_args(argv)
    shown = _lines(arguments.log_format)
    stop = StopRequest()
    try:
        summary: Report = (
            deploy(arguments, stop, shown, root)
            if arguments.against is None
            else prove(arguments, stop, shown, root)
        )
    except USER_ERRORS as error:
        shown.fail(str(error))
        return 2
    except KeyboardInterrupt as stopped:
        print("stopped; the board is as it was", file=sys.stderr)
        return command.exit_code(stopped)
    if arguments.log_format == JSON:
        shown.show(summary.text(), summary.document())
    else:
        print(summary.text())
    if arguments.json:
        print(json.dumps(summary.document()))
    return 0


def _lines(form: str) -> ShownLines:
    """What prints what happens; warnings come in the same form."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == JSON else logging.Formatter("%(message)s"))
    logging.basicConfig(handlers=[handler])
    return ShownLines(form)


def deploy(
    arguments: argparse.Namespace, stop: StopRequest, shown: ShownLines, root: Path
) -> Summary:
    """Open everything, run the control loop, and close everything.

    Raises:
        AgentError: the run folder or its policy.
        EnvError: the scenario.
        HardwareError: the board.
        PartitionError: the model, the photographs or the cloud.
    """
    if arguments.minutes is not None or arguments.out is not None:
        raise RunFolderError(
            "--minutes and --out are for --against; without it, --duration says how long"
        )
    run, model = _run(arguments)
    algorithm = run.policy.algorithm
    with _watched(arguments.metrics, run.path) as watch:
        env = _open(arguments, run, model, run.policy.check_layout, EPISODE_STEPS, shown, root)
        try:
            begin = partial(run.decide_for, env, model, arguments.scenario)
            with _log(arguments.log, algorithm, env) as log:
                return _control(env, algorithm, begin, arguments.duration, stop, shown, log, watch)
        finally:
            stop.ignore()
            env.close()


def prove(
    arguments: argparse.Namespace, stop: StopRequest, shown: ShownLines, root: Path
) -> Report:
    """Compare the policy with another one on the board, in turns, and close everything.

    Raises:
        AgentError: a run folder or its policy, or too little time.
        EnvError, HardwareError, PartitionError: as of `deploy`.
        OSError: what was found cannot be written.
    """
    of_one = arguments.log is not None or arguments.metrics is not None
    if arguments.dry_run or arguments.duration is not None or of_one:
        raise RunFolderError(
            "--against takes neither --dry-run nor --duration nor --log nor --metrics: nothing "
            "differs where no clock is set, --minutes says how long it may take, and a log and "
            "metrics are of one policy"
        )
    run, model = _run(arguments)
    minutes = MINUTES if arguments.minutes is None else arguments.minutes
    both = arms(run, arguments.against, arguments.own, model, arguments.scenario)
    proof = Proof(both, minutes, arguments.out or run.path, arguments.scenario)

    def accept(layout: Layout) -> None:
        for arm in both:
            arm.check_layout(layout)

    env = _open(arguments, driver(both), model, accept, proof.length.n_steps, shown, root)
    try:
        stop.can_wait = True
        report = proof.run(env, lambda: stop.wanted, shown.show)
    finally:
        stop.ignore()
        env.close()
    proof.keep(report, shown.show)
    return report


def _run(arguments: argparse.Namespace) -> tuple[RunFolder, str]:
    """The run folder, and the network that it is to run."""
    run = RunFolder.load(arguments.run, arguments.own)
    if arguments.promise is not None:
        run = replace(run, policy=run.policy.promising(arguments.promise))
    return run, arguments.model or run.model


def _open(
    arguments: argparse.Namespace,
    run: RunFolder,
    model: str,
    accept: Callable[[Layout], None],
    n_steps: int,
    shown: ShownLines,
    root: Path,
) -> EdgeSplitEnv:
    """The board, driven as a run says, with episodes of so many steps."""
    return make_live(
        arguments.board,
        run.device_on(arguments.board),
        model,
        arguments.scenario,
        cloud=arguments.cloud,
        security=link_security(arguments),
        source=arguments.source,
        listen=arguments.listen,
        http=arguments.http,
        n_steps=n_steps,
        max_power_w=run.policy.layout.max_power_w,
        accept=accept,
        hold=_hold(arguments.hold, run),
        governed=run.governed(model, arguments.scenario),
        domains=run.domains(arguments.board),
        dry_run=shown.show if arguments.dry_run else None,
        providers=arguments.providers,
        root=root,
    )


def _hold(wanted: str | None, run: RunFolder) -> Hold:
    """How clocks are held: as the policy was trained, unless told otherwise."""
    hold = run.hold if wanted is None else Hold(wanted)
    if (hold is Hold.CAP) != (run.hold is Hold.CAP):
        logging.warning(
            "%s was trained to hold clocks by %s, and what it learnt of latency and energy is not "
            "true by %s; leave --hold out, or train with --hold %s",
            run.path,
            run.hold.value,
            hold.value,
            "cap" if hold is Hold.CAP else "pin",
        )
    return hold


def _log(
    path: Path | None, algorithm: str, env: EdgeSplitEnv
) -> AbstractContextManager[TransitionLog | None]:
    """What writes the steps down, if that is wanted."""
    return nullcontext() if path is None else TransitionLog(path, algorithm, env.plant.layout)


def _watched(listen: str | None, run: Path) -> AbstractContextManager[Watch | None]:
    """What shows the board, if that is wanted."""
    if listen is None:
        return nullcontext()
    from agents.watch.watch import watched  # noqa: PLC0415 - most do without prometheus_client

    return watched(listen, run)


def _control(
    env: EdgeSplitEnv,
    algorithm: str,
    begin: Callable[[], BoardDecider],
    duration_s: float | None,
    stop: StopRequest,
    shown: ShownLines,
    log: TransitionLog | None,
    watch: Watch | None,
) -> Summary:
    plant = env.plant
    if not isinstance(plant, LivePlant):
        raise TypeError(f"deploy needs a live plant, got {type(plant).__name__}")
    with Driver(begin, plant) as driver:
        promise = None if driver.promised is None else PromiseWatch(driver)
        totals = ServiceTotals(plant)
        if watch is not None:
            watch.begin(algorithm, plant, totals, promise)
        shown.show(f"{plant.layout.model} runs on {plant.placement}")
        for address in plant.addresses:
            shown.show(f"answers applications at {address}")
        stop.can_wait = True
        observation, _ = env.reset(seed=0)  # draws the whole episode, which takes a second or more
        began_s = line_s = time.monotonic()
        while not stop.wanted and (duration_s is None or time.monotonic() - began_s < duration_s):
            decision = driver.decide(observation)
            seen = observation
            observation, _, _, truncated, info = env.step(decision.action)
            driver.account(*ended(plant))
            totals.add(info, decision.selection_s)
            totals.follow(driver)
            if promise is not None:
                promise.add(len(plant.served))
            if watch is not None:
                watch.look()
            if log is not None and driver.failure is not None:
                log.begin()
            elif log is not None:
                log.add(seen, decision.action, info, is_measured=plant.last_power.is_measured)
            if time.monotonic() - line_s >= LINE_PERIOD_S:
                line_s = time.monotonic()
                line = f"{line_s - began_s:6.1f} s  {live_line(plant, info)}"
                shown.show(line, live_attributes(plant, info, totals))
            if truncated:
                observation, _ = env.reset()
                if log is not None:
                    log.begin()
    return Summary(algorithm, plant, totals, promise)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        command.program("deploy"), description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument(
        "--run", type=Path, required=True, help=f"folder that {command.program('train')} wrote"
    )
    parser.add_argument(
        "--own",
        default=None,
        metavar="MODULE:CLASS",
        help="code of your own that may run, where it is what decides (docs/deciders.md)",
    )
    boards = f"{describe_boards()}; default %(default)s"
    parser.add_argument("--board", default=SIMULATED, help=boards)
    holds = [hold.value for hold in Hold]
    parser.add_argument(
        "--hold", choices=holds, default=None, help="how clocks are held (as the run was trained)"
    )
    parser.add_argument("--model", default=None, help="model folder (default models/<name>)")
    add_providers_option(parser)
    add_link_options(parser)
    parser.add_argument(
        "--scenario",
        default="steady-wifi",
        help="latency target, eta and requests: name or .toml file",
    )
    requests = parser.add_mutually_exclusive_group()
    requests.add_argument(
        "--source",
        type=Path,
        default=None,
        help="folder of photographs, .npy, .npz or .wav file of inputs, or fashion-mnist",
    )
    requests.add_argument(
        "--listen",
        default=None,
        metavar="HOST:PORT",
        help="answer an application on this machine instead, by gRPC (docs/application.md)",
    )
    where = "answer it by HTTP, beside --listen or alone; may be given again"
    parser.add_argument(
        "--http", action="append", default=[], metavar="HOST:PORT|unix:PATH", help=where
    )
    parser.add_argument(
        "--promise",
        type=inner_share,
        default=None,
        metavar="SHARE",
        help="keep this share of requests within their latency target in the long run, whatever it "
        "costs, as long as the safest action does (docs/promise.md); for policies of kind advised",
    )
    parser.add_argument(
        "--duration", type=positive_number, default=None, help="seconds; default endless"
    )
    parser.add_argument(
        "--log",
        type=Path,
        default=None,
        metavar="FILE",
        help="write each control step down for train.py --init RUN --log FILE, and keep the last "
        f"{LARGEST_BYTES // 2**20} MB",
    )
    parser.add_argument(
        "--metrics",
        default=None,
        metavar="HOST:PORT",
        help="show what the board does at http://HOST:PORT, to Prometheus at /metrics there, and "
        f"to {command.program('deploy')} status and top (docs/metrics.md)",
    )
    parser.add_argument(
        "--against",
        default=None,
        metavar=f"{GOVERNOR}|{BEST_STATIC}|RUN2",
        help="compare with the board's own governors, the best fixed setting or another run, in "
        "turns of seconds, until it is clear what the policy saves",
    )
    parser.add_argument(
        "--minutes",
        type=positive_number,
        default=None,
        help=f"with --against: at most so long (default {MINUTES:g})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="DIR",
        help="with --against: where its folder of results is made (the run's folder)",
    )
    parser.add_argument(
        "--log-format",
        choices=FORMATS,
        default=TEXT,
        help="of the lines that tell what happens; json: for a collector of logs (docs/metrics.md)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print every write, make none")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser


if __name__ == "__main__":
    sys.exit(command.run(main))
