"""Train a policy for an edge board, evaluate it on held-out episodes, and freeze it.

python train.py [--device tx2] [--model efficientnet-lite0] [--scenario all] [--algo advised] ...
python train.py --resume RUN              go on with a run that was cut
python train.py --sweep FILE.toml         many runs, one table
python train.py --algo ppo --tune 20      search for better settings of a learner
python train.py --board linux|emulated [--device mine.toml | --from-scratch] [--cloud HOST:PORT]
                                          learn on a board, in wall-clock time
python train.py --init RUN --board emulated [--cloud HOST:PORT] [--total-timesteps 1000]
                                          fine-tune a policy there
python train.py --init RUN --log FILE     learn from what deploy.py --log wrote of it
"""

from __future__ import annotations

from common import command

if __name__ == "__main__":
    command.begin()  # before what takes long to import

import argparse
import errno
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agents.deciders.own import is_own
from agents.errors import AgentError
from agents.testbed.offline import learn_from_log
from agents.testbed.place import LivePlace
from agents.testbed.run import (
    SCRATCH_STEPS,
    WARM_STEPS,
    LearnConfig,
    is_learning,
    learn_on_board,
    resumed_learning,
)
from agents.testbed.tune import tune_run
from agents.training import workers
from agents.training.algorithms import ABLATIONS
from agents.training.all_deciders import DECIDERS
from agents.training.hyperparams import parsed
from agents.training.run import CONFIG_FILE, TrainConfig, resumed, run
from agents.training.sweep import Sweep
from agents.tuning.study_file import read as read_search
from agents.tuning.tuner import is_search, tune
from envs.errors import EnvError
from envs.sim.build import ALL_SCENARIOS
from envs.sim.effects import EFFECTS
from hw.base import Hold
from hw.boards.registry import DEFAULT_DEVICE, SIMULATED, board_names
from hw.errors import HardwareError
from partition.cli import add_providers_option, share
from partition.errors import PartitionError
from partition.security.link_options import add_link_options, link_security

RUNS_DIR = Path("results/runs")
USER_ERRORS = (AgentError, EnvError, HardwareError, PartitionError)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
DEFAULT_ALGORITHM = "advised"
TUNING_SCENARIO = "steady-wifi"
"""Of `deploy.py`, too: link and server are what they are, its requests are taken."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; user errors end in one sentence and exit code 2."""
    arguments = _parser().parse_args(argv)
    workers.end_with_parent()
    folder = _folder(arguments)
    try:
        return _work(arguments, folder)
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        print(
            f"error: cannot write {folder} ({error.strerror}); free space, then "
            f"{_way_on(arguments, folder)}, or give another --out",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt as stopped:
        print(f"stopped; {_way_on(arguments, folder)}", file=sys.stderr)
        return command.exit_code(stopped)


def _work(arguments: argparse.Namespace, folder: Path) -> int:
    """Do what the options ask for."""
    if arguments.tune or (arguments.resume and is_search(arguments.resume)):
        return _search(arguments, folder)
    if arguments.from_scratch and (arguments.init or not _is_live(arguments)):
        raise AgentError("--from-scratch is for learning on a board without --init; name a --board")
    if arguments.log and not arguments.init:
        raise AgentError("--log needs the run that wrote it; give --init RUN")
    if arguments.init:
        return _tune(arguments, folder)
    if arguments.sweep:
        return _sweep(arguments.sweep, folder)
    return _learn(arguments, folder) if _is_live(arguments) else _train(arguments, folder)


def _folder(arguments: argparse.Namespace) -> Path:
    """Where what comes of it goes."""
    if arguments.sweep:
        return RUNS_DIR / f"sweep-{arguments.sweep.stem}"
    given: Path | None = arguments.resume or arguments.out
    if given:
        return given
    if arguments.init:
        return RUNS_DIR / f"tuned-{arguments.init.name}"
    kind = "EdgeSplitSim-v0" if arguments.board == SIMULATED else "EdgeSplit-v0"
    kind = "tuned" if arguments.tune else kind
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    name = arguments.algo.replace(":", ".").replace("/", "-")
    return RUNS_DIR / f"{kind}__{name}__{arguments.seed}__{stamp}"


def _way_on(arguments: argparse.Namespace, folder: Path) -> str:
    """What goes on with work that was cut."""
    if arguments.sweep:
        way = f"--sweep {arguments.sweep}"
    elif arguments.init:  # its board and cloud have to be named again
        return f"the same command with --out {folder} goes on"
    elif is_search(folder) or is_learning(folder) or (folder / CONFIG_FILE).is_file():
        way = f"--resume {folder}"
    else:
        return "the same command begins again"
    return f"{command.call('train')} {way} goes on"


def _train(arguments: argparse.Namespace, folder: Path) -> int:
    if arguments.resume:
        words = run(_resumed(folder, arguments.algo), folder, is_new=False)
    else:
        words = run(_config(arguments), folder)
    print(f"\n{words}")
    return 0


def _resumed(run_dir: Path, algo: str) -> TrainConfig:
    """What a run that was cut was told; code that its file names runs if it is named here, too."""
    return _allowed(resumed(run_dir), run_dir, algo)


def _allowed(config: TrainConfig, run_dir: Path, algo: str) -> TrainConfig:
    if is_own(config.algo) and config.algo != algo:
        raise AgentError(
            f"{run_dir} was trained by {config.algo}, code that does not come with dvfo and may do "
            f"anything; name it if it may run: --algo {config.algo}"
        )
    return config


def _search(arguments: argparse.Namespace, folder: Path) -> int:
    """Search for settings in a new folder, or go on in that of a search."""
    if arguments.board != SIMULATED:
        raise AgentError(f"--tune searches in simulation; leave --board {arguments.board} out")
    for option in ("init", "sweep", "target"):
        if getattr(arguments, option) is not None:
            raise AgentError(f"--tune searches for settings by itself; leave --{option} out")
    if arguments.resume:
        study = read_search(folder)
        config = _allowed(study.config, folder, arguments.algo)
        print(tune(config, arguments.tune or study.n_trials, folder))
    else:
        print(tune(_config(arguments), arguments.tune, folder))
    return 0


def _sweep(path: Path, folder: Path) -> int:
    return 0 if Sweep.load(path, folder).run() else 1


def _tune(arguments: argparse.Namespace, folder: Path) -> int:
    """Tune a run's policy on a board, or from a log without one."""
    scenario = _live_scenario(arguments)
    if not arguments.log:
        place = LivePlace(
            board=arguments.board,
            scenario=scenario,
            cloud=arguments.cloud,
            listen=arguments.listen,
            security=link_security(arguments),
            n_steps=arguments.total_timesteps or WARM_STEPS,
            seed=arguments.seed,
            providers=arguments.providers,
        )
        said = tune_run(arguments.init, folder, place)
    elif arguments.board == SIMULATED:
        said = learn_from_log(arguments.init, folder, arguments.log, scenario, arguments.seed)
    else:
        raise AgentError(f"--log learns without a board; leave --board {arguments.board} out")
    print(f"{said}\n\npolicy is in {folder}\nnext: {command.call('deploy')} --run {folder}")
    return 0


def _is_live(arguments: argparse.Namespace) -> bool:
    """Whether a board is learned on that is there, rather than the batched simulation of one."""
    if arguments.resume:
        return is_learning(arguments.resume)
    return bool(arguments.board != SIMULATED)


def _learn(arguments: argparse.Namespace, folder: Path) -> int:
    """Learn on a board, without a run that was trained before."""
    if arguments.resume:
        config = resumed_learning(folder)
        _allowed(config.simulation, folder, arguments.algo)
    else:
        config = _learning(arguments)
    said = learn_on_board(
        config,
        folder,
        security=link_security(arguments),
        providers=arguments.providers,
        is_new=not arguments.resume,
    )
    way = f"{command.call('deploy')} --run {folder} --board {config.board}"
    print(f"{said}\n\npolicy is in {folder}\nnext: {way}")
    return 0


def _learning(arguments: argparse.Namespace) -> LearnConfig:
    if arguments.board not in board_names():
        raise AgentError(
            f"board {arguments.board!r} is unknown; use one of {', '.join(board_names())}"
        )
    config, device = _config(arguments), arguments.device or ""
    return LearnConfig(
        board=arguments.board,
        scenario=_live_scenario(arguments),
        cloud=arguments.cloud,
        listen=arguments.listen,
        n_steps=arguments.total_timesteps,
        from_scratch=arguments.from_scratch,
        simulation=replace(config, board=SIMULATED, device=device, total_timesteps=None),
    )


def _live_scenario(arguments: argparse.Namespace) -> str:
    """The one whose requests a board answers."""
    names = arguments.scenario or [TUNING_SCENARIO]
    if len(names) > 1:
        raise AgentError(f"a board has one scenario at a time, --scenario names {len(names)}")
    return str(names[0])


def _config(arguments: argparse.Namespace) -> TrainConfig:
    return TrainConfig(
        board=arguments.board,
        device=arguments.device or DEFAULT_DEVICE,
        model=arguments.model,
        scenario=tuple(arguments.scenario or [ALL_SCENARIOS]),
        algo=arguments.algo,
        total_timesteps=arguments.total_timesteps,
        seed=arguments.seed,
        without=tuple(arguments.without),
        blocking=arguments.blocking,
        hold=arguments.hold,
        target=arguments.target,
        hyperparams=parsed(arguments.hyperparams),
        runtime=arguments.runtime,
    )


def _positive(text: str) -> int:
    value = float(text)
    if not 1.0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a finite number of 1 or more, got {text}")
    return int(value)


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:  # what NumPy's older generators take
        raise argparse.ArgumentTypeError(f"must be within 0 and {2**32 - 1}, got {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        command.program("train"), description=__doc__.splitlines()[0] if __doc__ else None
    )
    names = (*DECIDERS.names(), *ABLATIONS)
    boards = (
        f"{SIMULATED} (thousands of simulated boards), or one to learn on in wall-clock time: "
        f"{', '.join(name for name in board_names() if name != SIMULATED)}; with --init any"
    )
    parser.add_argument("--board", default=SIMULATED, help=boards)
    parser.add_argument(
        "--device",
        default=None,
        help=f"device model, name or .toml file (default {DEFAULT_DEVICE}; of a board that is "
        "learned on, the closest to it)",
    )
    parser.add_argument(
        "--runtime",
        default=None,
        help="what computes the network there, such as tensorrt-int8, torch or tflite-cpu; the "
        "device's file says which it has, its first is the default",
    )
    parser.add_argument("--model", default="efficientnet-lite0", help="name or model folder")
    parser.add_argument(
        "--scenario",
        nargs="+",
        default=None,
        help=f"names or .toml files (default all; {TUNING_SCENARIO} on a board)",
    )
    parser.add_argument(
        "--algo",
        default=DEFAULT_ALGORITHM,
        help=f"one of {', '.join(names)}, or MODULE:NAME of your own (%(default)s)",
    )
    parser.add_argument(
        "--total-timesteps",
        type=_positive,
        default=None,
        help="largest number of steps to learn from, over all boards (the algorithm's own number; "
        f"on a board {WARM_STEPS}, and {SCRATCH_STEPS} with --from-scratch)",
    )
    parser.add_argument("--seed", type=_seed, default=0, help="of everything random (%(default)s)")
    parser.add_argument("--out", type=Path, default=None, help=f"run folder (default {RUNS_DIR}/)")
    parser.add_argument(
        "--target",
        type=share,
        default=None,
        help="stop at this fraction of the gap between the best static setting and the oracle",
    )
    parser.add_argument(
        "--hyperparams",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the algorithm, instead of those that it ships with",
    )
    parser.add_argument(
        "--disable-effect",
        dest="without",
        nargs="+",
        default=[],
        metavar="EFFECT",
        help=f"switch effects of the simulation off: {', '.join(EFFECTS)}",
    )
    parser.add_argument(
        "--synchronous",
        dest="blocking",
        action="store_true",
        help="simulate boards that serve nothing during a decision; by default they go on",
    )
    parser.add_argument(
        "--hold",
        choices=[Hold.PIN.value, Hold.CAP.value],
        default=Hold.PIN.value,
        help="how the boards hold clocks: pinned, or capped with the device's governors below the "
        "cap (%(default)s)",
    )
    parser.add_argument("--resume", type=Path, default=None, help="go on with this run folder")
    parser.add_argument("--init", type=Path, default=None, help="fine-tune this run's policy")
    parser.add_argument(
        "--log",
        type=Path,
        default=None,
        metavar="FILE",
        help="with --init: learn from what deploy.py --log wrote, without a board",
    )
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="learn on the board alone, and not in the simulation of a device before",
    )
    tuning = parser.add_argument_group("on a board")
    tuning.add_argument(
        "--listen",
        default=None,
        metavar="HOST:PORT",
        help="learn from an application's requests (docs/application.md), not from pictures",
    )
    add_link_options(tuning)
    add_providers_option(tuning)
    parser.add_argument(
        "--tune",
        type=_positive,
        default=None,
        metavar="N",
        help="try N settings of --algo, then train the best again with other seeds",
    )
    parser.add_argument("--sweep", type=Path, default=None, help="train what a .toml file lists")
    return parser


if __name__ == "__main__":
    sys.exit(command.run(main))
