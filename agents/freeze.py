"""Turn a model that Stable-Baselines3 saved into a run folder: `python -m agents.freeze MODEL.zip`.

The folder is one as `train.py` leaves it: judged on held-out episodes next to the baselines, and
taken by `deploy.py` and `benchmarks.policies`. The .zip holds pickles, whose code is run: give it a
file of your own only.
"""

from __future__ import annotations

from common import command, extras

if __name__ == "__main__":
    command.begin()  # before what takes long to import
    extras.require("freezing a model", "stable_baselines3")

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agents.deployed.run_folder import keep_device
from agents.errors import AgentError, PolicyError
from agents.evaluation.evaluate import OVERALL, RIVALS
from agents.evaluation.verdict import last_words
from agents.learning.export import set_threads
from agents.learning.sb3_model import freeze_model
from agents.training.judge import judge
from agents.training.learn import simulated_decider
from agents.training.run import CONFIG_FILE, make_run_dir, open_or_prepare, write_json
from envs.errors import EnvError
from envs.plant import Indices
from envs.sim.build import ALL_SCENARIOS, build_sim_config
from hw.errors import HardwareError
from partition import array_file
from partition.errors import PartitionError

RUNS_DIR = Path("results/runs")
REMEDY = f"train it longer, or deploy best-static ({command.call('train')} --algo best-static)"
USER_ERRORS = (AgentError, EnvError, HardwareError, PartitionError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; user errors end in one sentence and exit code 2."""
    arguments = _parser().parse_args(argv)
    try:
        print(f"\n{_freeze(arguments)}")
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _freeze(arguments: argparse.Namespace) -> str:
    """Freeze, judge, and write the run folder; returns what to do next."""
    set_threads()
    zipped: Path = arguments.model_zip
    if zipped.stem in (*RIVALS, OVERALL):
        raise PolicyError(
            f"{zipped} has the name of a baseline that it is compared with; rename the file"
        )
    folder = open_or_prepare(arguments.model)
    world = build_sim_config(arguments.device, folder, arguments.scenario)
    policy = freeze_model(
        zipped,
        world.layout,
        normalise=arguments.normalise,
        actions=_table(arguments.actions) if arguments.actions else None,
    )
    run_dir: Path = arguments.out or RUNS_DIR / f"frozen-{zipped.stem}"
    make_run_dir(run_dir)
    is_named = folder.path == Path("models") / folder.name
    document = {
        "device": arguments.device,
        "model": folder.name if is_named else str(folder.path),
        "scenario": arguments.scenario,
        "algo": policy.algorithm,
        "frozen_from": str(zipped),
    }
    write_json(run_dir / CONFIG_FILE, document)
    keep_device(arguments.device, run_dir)
    decider = simulated_decider(policy, world)
    rows = judge(world, policy.algorithm, decider, arguments.seed, run_dir)
    policy.save(run_dir / "policy")
    return last_words(rows, policy.algorithm, run_dir, remedy=REMEDY, is_privileged=False)


def _table(path: Path) -> Indices:
    """Read listed actions.

    Raises:
        PolicyError: the file holds none.
    """
    try:
        table = array_file.read_array(path)
    except (OSError, ValueError) as error:
        raise PolicyError(
            f"listed actions {path} cannot be read ({error}); give what numpy.save wrote"
        ) from None
    if table.ndim != 2 or not np.issubdtype(table.dtype, np.integer):
        raise PolicyError(
            f"listed actions {path} have shape {table.shape} of {table.dtype}; give integers, a "
            f"row per action and a column per axis"
        )
    actions: Indices = table.astype(np.int64)
    return actions


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m agents.freeze", description=__doc__)
    parser.add_argument(
        "model_zip", type=Path, metavar="MODEL.zip", help="what model.save of SB3 wrote"
    )
    parser.add_argument(
        "--normalise",
        type=Path,
        default=None,
        metavar="STATISTICS.pkl",
        help="what VecNormalize.save wrote, if observations were normalised",
    )
    parser.add_argument(
        "--actions",
        type=Path,
        default=None,
        metavar="TABLE.npy",
        help="whole actions by number, for Discrete spaces (envs.listed_actions)",
    )
    parser.add_argument("--device", default="tx2", help="that it was trained on (%(default)s)")
    parser.add_argument(
        "--model", default="efficientnet-lite0", help="network that it was trained with"
    )
    parser.add_argument(
        "--scenario",
        nargs="+",
        default=[ALL_SCENARIOS],
        help="to judge it in, names or .toml files (all)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the held-out episodes")
    parser.add_argument("--out", type=Path, default=None, help=f"run folder (in {RUNS_DIR})")
    return parser


if __name__ == "__main__":
    sys.exit(command.run(main))
