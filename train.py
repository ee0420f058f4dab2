"""Train a policy for an edge board, evaluate it on held-out episodes, and freeze it.

python train.py [--device tx2] [--model efficientnet-lite0] [--scenario all] [--algo ppo] ...
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agents.agent_decider import AgentDecider
from agents.algorithms import ALGORITHMS, algorithm
from agents.callbacks import TrainingReport
from agents.deciders.oracle import Oracle
from agents.errors import AgentError, RunFolderError
from agents.evaluate import EvaluationRow, evaluate, write_csv
from agents.machine import describe_machine
from agents.plots import decisions_figure, evaluation_figure, record_decisions, save
from agents.policy import FrozenPolicy
from agents.report import print_rows
from agents.seeds import held_out_seeds
from agents.training import simulated_decider, train
from envs.errors import EnvError
from envs.fleet import World
from envs.worlds import ALL_SCENARIOS, build_world
from hw.errors import HardwareError
from partition.errors import ModelNotFoundError, PartitionError
from partition.model_folder import PROFILE_FILE, ModelFolder
from partition.prepare import prepare
from partition.profile import profile, write

RUNS_DIR = Path("results/runs")
USER_ERRORS = (AgentError, EnvError, HardwareError, PartitionError)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """A training run; saved as `config.json`."""

    board: str
    device: str
    model: str
    scenario: tuple[str, ...]
    algo: str
    total_timesteps: int
    seed: int


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; user errors end in one sentence and exit code 2."""
    arguments = _parser().parse_args(argv)
    try:
        run_dir = run(_config(arguments), arguments.out)
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # no space left, above all
        print(f"error: cannot write the run ({error}); free space or give --out", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the run folder is incomplete and can be deleted", file=sys.stderr)
        return 130
    print(f"\npolicy and pictures are in {run_dir}\nnext: python deploy.py --run {run_dir}")
    return 0


def run(config: TrainConfig, out: Path | None) -> Path:
    """Train, evaluate and freeze.

    Returns:
        The run folder.

    Raises:
        AgentError: the algorithm or the run folder.
        EnvError: a scenario.
        HardwareError: the device.
        PartitionError: the model.
    """
    algorithm(config.algo)  # an unknown name is told before anything is prepared
    folder = open_or_prepare(config.model)
    world = build_world(config.device, folder, config.scenario)
    # As deploy.py will look it up, whatever the network was given as.
    is_named = folder.path == Path("models") / folder.name
    config = replace(config, model=folder.name if is_named else str(folder.path))
    run_dir = _make_run_dir(config, out)
    _write_json(run_dir / "config.json", asdict(config))
    _write_json(run_dir / "machine.json", describe_machine())
    print(world.device.status_line)
    policy = _train(config, world, run_dir)
    rows = evaluate(
        world, {config.algo: simulated_decider(policy, world)}, config.seed, report=print
    )
    write_csv(rows, run_dir / "evaluation.csv")
    _draw(config, world, folder, policy, rows, run_dir)
    print_rows(rows)
    # Last, so that a folder with a policy is a finished run.
    policy.save(run_dir / "policy")
    return run_dir


def open_or_prepare(model: str) -> ModelFolder:
    """Open a prepared model; otherwise prepare it and measure what each cut costs in accuracy."""
    try:
        return ModelFolder.open(model)
    except ModelNotFoundError:
        print(f"preparing and profiling {model}, about a minute")
        folder = prepare(model)
        write(folder.path / PROFILE_FILE, profile(folder))
        return ModelFolder.open(folder.path)


def _train(config: TrainConfig, world: World, run_dir: Path) -> FrozenPolicy:
    began_s = time.monotonic()
    trained = train(
        config.algo,
        world,
        config.seed,
        total_timesteps=config.total_timesteps,
        log_dir=run_dir / "tensorboard",
        watchers=lambda boards, metadata: [
            TrainingReport(
                boards, config.total_timesteps, lambda agent: AgentDecider(agent, metadata)
            )
        ],
        report=print,
    )
    print(f"trained {trained.steps} steps in {time.monotonic() - began_s:.0f} s")
    trained.agent.save(run_dir / "agent.zip")
    return trained.policy


def _draw(
    config: TrainConfig,
    world: World,
    folder: ModelFolder,
    policy: FrozenPolicy,
    rows: Sequence[EvaluationRow],
    run_dir: Path,
) -> None:
    subtitle = f"modelled {world.device.title}, {config.model}, seed {config.seed}"
    save(evaluation_figure(rows, config.algo, subtitle), run_dir / "evaluation.png")
    seeds = held_out_seeds(config.seed, 18)
    named = [
        (name, record_decisions(world, decider, seeds))
        for name, decider in (
            (config.algo, simulated_decider(policy, world)),
            ("oracle", Oracle()),
        )
    ]
    names = [option.name for option in folder.routes]
    route_names = ["input (cloud-only)", *names[1:-1], "nothing (edge-only)"]
    save(decisions_figure(named, world.layout.domains, route_names), run_dir / "decisions.png")


def _make_run_dir(config: TrainConfig, out: Path | None) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    default = RUNS_DIR / f"EdgeSplitSim-v0__{config.algo}__{config.seed}__{stamp}"
    run_dir = out or default
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if any(run_dir.iterdir()):
            raise RunFolderError(f"{run_dir} is not empty; give another --out or empty it")
        (run_dir / "config.json").touch()
    except OSError as error:
        raise RunFolderError(
            f"{run_dir} cannot be written ({error.strerror}); give another --out"
        ) from None
    return run_dir


def _write_json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _config(arguments: argparse.Namespace) -> TrainConfig:
    total = arguments.total_timesteps
    if arguments.board != "sim":
        raise AgentError(
            f"train.py cannot train on board {arguments.board!r} yet; use --board sim, which is "
            f"the only one"
        )
    return TrainConfig(
        board=arguments.board,
        device=arguments.device,
        model=arguments.model,
        scenario=tuple(arguments.scenario),
        algo=arguments.algo,
        total_timesteps=total if total is not None else algorithm(arguments.algo).total_timesteps,
        seed=arguments.seed,
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--board", default="sim", help="sim (default)")
    parser.add_argument("--device", default="tx2", help="device model, name or .toml file")
    parser.add_argument("--model", default="efficientnet-lite0", help="name or model folder")
    parser.add_argument(
        "--scenario", nargs="+", default=[ALL_SCENARIOS], help="names or .toml files (default all)"
    )
    parser.add_argument("--algo", default="ppo", help=f"one of {', '.join(ALGORITHMS)}")
    parser.add_argument("--total-timesteps", type=_positive, default=None)
    parser.add_argument("--seed", type=_seed, default=0)
    parser.add_argument("--out", type=Path, default=None, help=f"run folder (default {RUNS_DIR}/)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
