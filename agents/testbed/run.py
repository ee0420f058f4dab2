"""One run of `train.py --board linux|emulated`: a policy that is learned on the board itself.

Unless it is to begin with nothing, it first learns in the simulation of a device file, one that was
fitted to this board or the closest one, which initialises value and policy; then it goes on on the
board (`agents.testbed.tune`).
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agents.deployed.run_folder import keep_device
from agents.errors import AgentError, RunFolderError
from agents.testbed import scratch
from agents.testbed.checkpoints import forget
from agents.testbed.comparison import BLOCK_STEPS, n_compared
from agents.testbed.place import LivePlace
from agents.testbed.recipes import live_recipe
from agents.testbed.tune import record_machine, tune_run
from agents.training.algorithms import algorithm, learns
from agents.training.run import (
    CONFIG_FILE,
    TrainConfig,
    is_finished,
    make_run_dir,
    open_or_prepare,
    resumed,
    run,
    write_json,
)
from common import command
from common.schema import convert
from envs.scenarios.scenario import scenario_names
from envs.sim.build import ALL_SCENARIOS
from hw.base import Hold
from hw.describe import describe
from hw.device.file import on_runtime
from hw.device.match import devices_like
from hw.doctor.survey import survey
from hw.errors import HardwareError, UnsupportedError
from hw.sysfs import Sysfs
from partition import json_file
from partition.providers.registry import Provider
from partition.security.tls import ClientSecurity

REAL = "linux"
"""The board whose clocks say which device it is like."""
LEARNING_FILE = "learning.json"
SIMULATION = "simulation"
"""Folder in that of the run, of what is learned before."""
CLOSEST_FILE = "closest.toml"
WARM_STEPS = 2400
"""Control steps that a policy from simulation goes on for by default, ten minutes."""
SCRATCH_STEPS = 14_400
"""Control steps of one that begins with nothing, an hour."""
EPISODE_STEPS = 240


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnConfig:
    """A run of learning on a board; saved as `learning.json`.

    Attributes:
        board: a name in `hw.boards.registry`.
        scenario: name or TOML file of the requests there.
        cloud: HOST:PORT of `partition.server`; None keeps everything on the edge.
        listen: HOST:PORT where an application's requests are taken instead of pictures.
        n_steps: control steps on the board; None takes the usual number.
        from_scratch: begin with nothing.
        simulation: what is learned before in simulation; of one that begins with nothing,
            algorithm, device, network, hold, seed and settings. Its device is empty where none was
            named; its scenarios are `simulated_scenarios`.
    """

    board: str
    scenario: str
    cloud: str | None
    listen: str | None
    n_steps: int | None
    from_scratch: bool
    simulation: TrainConfig

    def place(self, security: ClientSecurity, providers: tuple[Provider, ...] | None) -> LivePlace:
        """Where to learn."""
        usual = SCRATCH_STEPS if self.from_scratch else WARM_STEPS
        return LivePlace(
            board=self.board,
            scenario=self.scenario,
            cloud=self.cloud,
            n_steps=self.n_steps or usual,
            seed=self.simulation.seed,
            listen=self.listen,
            security=security,
            providers=providers,
        )


def is_learning(run_dir: Path) -> bool:
    """Whether a folder is one of a run on a board."""
    return (run_dir / LEARNING_FILE).is_file()


def resumed_learning(run_dir: Path) -> LearnConfig:
    """Read the configuration of a run that was cut.

    Raises:
        RunFolderError: it is damaged, or the run is finished.
    """
    if is_finished(run_dir):
        raise RunFolderError(f"{run_dir} is finished; learn again with another --out")
    try:
        return convert(json_file.read(run_dir / LEARNING_FILE), LearnConfig)
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{run_dir / LEARNING_FILE} is damaged ({error}); learn again"
        ) from None


def simulated_scenarios(scenario: str) -> tuple[str, ...]:
    """What to simulate for a board whose link is what it is: every scenario, and its own."""
    return (ALL_SCENARIOS,) if scenario in scenario_names() else (ALL_SCENARIOS, scenario)


def learn_on_board(
    config: LearnConfig,
    run_dir: Path,
    *,
    security: ClientSecurity,
    providers: tuple[Provider, ...] | None,
    is_new: bool,
    root: Path = Path("/"),
) -> str:
    """Learn on a board and leave a run folder that deploys.

    Args:
        config: what to do.
        run_dir: where; one that was cut is gone on with.
        security: what a cloud beyond this machine needs.
        providers: what the network runs on; None takes the best that work here.
        is_new: whether the folder has to be made.
        root: where a real board looks for /sys.

    Returns:
        What came of it, in a few lines.

    Raises:
        AgentError: the algorithm, or the run folder.
        EnvError: a scenario.
        HardwareError: the board or the device.
        PartitionError: the model or the cloud.
    """
    if not learns(config.simulation.algo):
        raise AgentError(
            f"{config.simulation.algo} does not learn; train it in simulation (leave --board out) "
            f"and deploy it, or take ppo, sac, dqn, dvfo or advised"
        )
    if is_new:
        make_run_dir(run_dir)
        write_json(run_dir / LEARNING_FILE, asdict(config))
    learn = _from_scratch if config.from_scratch else _from_simulation
    try:
        config = _with_device(config, run_dir, root)
        said = learn(config, config.place(security, providers), run_dir)
    except Exception:
        _leave_no_empty_folder(run_dir)
        raise
    forget(run_dir)
    return said


def _leave_no_empty_folder(run_dir: Path) -> None:
    """Take a folder back that nothing was learned in, so that the same command can be mended."""
    ours = {CONFIG_FILE, LEARNING_FILE, CLOSEST_FILE}
    if {path.name for path in run_dir.iterdir()} <= ours:
        for name in ours:
            (run_dir / name).unlink(missing_ok=True)
        run_dir.rmdir()


def _with_device(config: LearnConfig, run_dir: Path, root: Path) -> LearnConfig:
    """The device that a real machine is closest to, where none was named."""
    named = config.simulation.device
    if named or config.from_scratch:
        return config
    if config.board != REAL:
        raise AgentError(
            f"board {config.board} has no device of its own to begin with; name the file of one by "
            f"--device ({command.call('calibrate')} measures it), or begin with nothing "
            f"(--from-scratch)"
        )
    path = run_dir / CLOSEST_FILE
    try:
        if not path.is_file():
            _write_closest(path, root)
    except HardwareError as error:
        raise AgentError(
            f"no device file stands for this machine: {error}. Name the file of one by --device "
            f"({command.call('calibrate')} measures it), or begin with nothing (--from-scratch)"
        ) from None
    return replace(config, simulation=replace(config.simulation, device=str(path)))


def _write_closest(path: Path, root: Path) -> None:
    import tomli_w  # noqa: PLC0415 - an extra

    with closing(Sysfs(root)) as sysfs:
        found = survey(sysfs)
    alike = devices_like(found.clocks, found.boards)
    if not alike:
        raise UnsupportedError(f"{found.machine} is like none that is shipped")
    like = alike[0]
    path.write_text(tomli_w.dumps(describe(found, like, path.stem)), encoding="utf-8")
    print(
        f"no --device: {found.machine} is most like {like}, and learning begins with that device's "
        f"model; {command.call('calibrate')} would measure this one",
        flush=True,
    )


def _from_simulation(config: LearnConfig, place: LivePlace, run_dir: Path) -> str:
    """Learn in the simulation of the device first."""
    before = replace(config.simulation, scenario=simulated_scenarios(config.scenario))
    folder = run_dir / SIMULATION
    if not is_finished(folder):
        print(
            f"first: learning in the simulation of {before.device}, minutes of a processor\n"
            f"then: {place.forecast(n_compared())}",
            flush=True,
        )
        written = folder / CONFIG_FILE
        is_new = not written.is_file()
        is_told = not is_new and written.stat().st_size > 0  # empty until all was found right
        run(resumed(folder) if is_told else before, folder, is_new=is_new, is_judged=False)
    return tune_run(folder, run_dir, place)


def _from_scratch(config: LearnConfig, place: LivePlace, run_dir: Path) -> str:
    """Learn on the board alone."""
    begun = config.simulation
    if algorithm(begun.algo).lessons:
        raise AgentError(
            f"{begun.algo} begins with lessons in simulation; leave --from-scratch out, or take ppo"
        )
    recipe = live_recipe(begun.algo, place.n_steps, begun.hyperparams)
    folder = open_or_prepare(begun.model)
    is_named = folder.path == Path("models") / folder.name
    device = on_runtime(begun.device, begun.runtime) if begun.device else ""
    print(place.forecast(n_compared()), flush=True)
    env = place.open(
        device or None,
        str(folder.path),
        n_steps=max(EPISODE_STEPS, BLOCK_STEPS),
        hold=Hold(begun.hold),
    )
    try:
        record_machine(env, run_dir)
        policy, said = scratch.learn(env, begun.algo, recipe, run_dir, place.n_steps, begun.seed)
    finally:
        env.close()
    document = {
        "device": device,
        "model": folder.name if is_named else str(folder.path),
        "hold": begun.hold,
    }
    write_json(run_dir / CONFIG_FILE, document)
    if device:
        keep_device(device, run_dir)
    policy.save(run_dir / "policy")
    return said
