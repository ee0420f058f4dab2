"""Construction of the live environment from names; the entry point of `gymnasium.make`."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from envs import arguments as checked
from envs.edge_env import EdgeSplitEnv
from envs.errors import EnvError
from envs.governed.table import GovernedTable
from envs.live.cloud_link import CloudLink
from envs.live.pacer import BoardPacer
from envs.live.plant import STEP_S, LivePlant, live_layout
from envs.live.requests import (
    MAX_WAITING,
    ApplicationRequests,
    BackToBackRequests,
    Inputs,
    ScenarioRequests,
)
from envs.objective import Objective
from envs.plant import Layout
from envs.scenarios.scenario import Scenario
from hw.base import Board, Hold
from hw.boards.registry import SIMULATED, is_machine, open_board
from hw.errors import FrequencyRejectedError, HardwareError, SensorReadError
from partition.data.example_inputs import camera_inputs, example_inputs
from partition.edge.client import CloudClient
from partition.edge.local_service import LocalService
from partition.edge.pipeline import SplitPipeline
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime, random_inputs
from partition.providers.execution import Execution
from partition.providers.registry import Provider
from partition.security.tls import ClientSecurity

logger = logging.getLogger(__name__)

REFERENCE_RUNS = 20
"""Inferences at full speed from which a live board's reference latency and power are taken."""

MOSTLY = 0.5
"""Share of the reference runs that may by chance take longer than modelled."""

N_TRIES = 4
"""A sensor or a clock that fails so often at the start does not fail by chance."""


@checked.only_known("EdgeSplit-v0")
def make_live(
    board: str = SIMULATED,
    device: str | None = None,
    model: str = "efficientnet-lite0",
    scenario: str = "steady-wifi",
    *,
    cloud: str | None = None,
    security: ClientSecurity | None = None,
    source: str | Path | None = None,
    listen: str | None = None,
    http: Sequence[str] = (),
    eta: float | None = None,
    weights: Mapping[str, float] | None = None,
    n_steps: int = 240,
    max_power_w: float | None = None,
    accept: Callable[[Layout], None] = lambda _: None,
    hold: Hold = Hold.PIN,
    governed: GovernedTable | None = None,
    domains: Sequence[str] | None = None,
    dry_run: Callable[[str], object] | None = None,
    continuous: bool = False,
    providers: tuple[Provider, ...] | None = None,
    render_mode: str | None = None,
    root: Path = Path("/"),
) -> EdgeSplitEnv:
    """Make `EdgeSplit-v0`: a board and a split pipeline in wall-clock time.

    What an episode, a reset and a late step are stands in `envs.edge_env.EdgeSplitEnv`; `close`
    gives the board back.

    Args:
        board: name of a board, see `hw.boards.registry`; modelled clocks and power if not given.
        device: which device a modelled board models, or a real one is taken for.
        model: name of a prepared model, or its folder.
        scenario: name or TOML file.
        cloud: HOST:PORT of `partition.server`; None keeps everything on the edge.
        security: certificates and token for it; by default TLS beyond this machine.
        source: folder of photographs, file of inputs, or `fashion-mnist`; None takes what fits the
            network, see `partition.data.example_inputs`.
        listen: HOST:PORT of this machine where an application's requests are taken, see
            `partition.edge.local_client`, instead of pictures as the scenario says.
        http: HOST:PORT of this machine, or unix:PATH, where they are taken by HTTP.
        eta: weight of energy against time in the cost, 0..1; the scenario's own if not given.
        weights: of the cost's other terms by name, `envs.arguments.WEIGHTS`.
        n_steps: control steps in an episode.
        max_power_w: power shown as 1 in the observation, as a trained policy knows it; None
            takes the model's, or measures it on a real board.
        accept: called with the layout before any clock is set; may raise to refuse it.
        hold: how the board holds its clocks.
        governed: what its governors are expected to come to below caps; None expects pinned clocks.
        domains: clocks of a real board to drive; all that are found if not given.
        dry_run: set no clock, and report each write of a real board to this.
        continuous: `Box` instead of `MultiDiscrete` actions.
        providers: what the network runs on, the preferred one first; None takes the best that
            work here.
        render_mode: "ansi" or "rgb_array".
        root: where a real board looks for /sys.

    Raises:
        EnvError: an argument that means nothing.
        HardwareError: the board.
        PartitionError: the model, a provider, the photographs, the address to listen on, or a
            cloud that holds another model or refuses this board; one that does not answer is
            looked for in the background.
        ScenarioError: the scenario.
    """
    mode, given = checked.render_mode(render_mode), checked.cost_weights(weights)
    steps = checked.count("n_steps", n_steps)
    for argument, value in (("board", board), ("device", device), ("cloud", cloud)):
        if value is not None:
            checked.name_or_file(argument, value)
    folder = ModelFolder.open(checked.name_or_file("model", model))
    surroundings = Scenario.load(checked.one_name_or_file("scenario", scenario))
    is_asked = listen is not None or bool(http)
    if is_asked and source is not None:
        raise EnvError(
            f"requests come from an application or from {source}: give no source where one asks"
        )
    if is_asked and surroundings.is_back_to_back:
        raise EnvError(
            f"an application asks when it likes, and in scenario {surroundings.name} requests come "
            "back to back; take one whose requests come at a rate"
        )
    if eta is not None:
        surroundings = replace(surroundings, eta=checked.share("eta", eta))
    execution = Execution.choose(providers)
    pictures = checked.folder("source", source)
    with ExitStack() as opening:  # what is open is closed again if anything fails
        service = None
        if is_asked:
            service = LocalService(folder, listen, http=http, max_waiting=MAX_WAITING)
            opening.callback(service.stop)
        client = CloudClient(cloud, folder, security=security) if cloud else None
        link = CloudLink(client)
        opening.callback(link.close)
        link.greet()
        opened = open_board(
            board, device=device, root=root, hold=hold, domains=domains, dry_run=dry_run
        )
        opening.callback(opened.close)
        inputs = _examples(opened, folder, pictures) if service is None else [random_inputs(folder)]
        layout = live_layout(opened, folder, max_power_w or math.nan)
        accept(layout)
        pipeline = _pipeline(opened, folder, client, execution, hold)
        _check_period(opened)
        _check_temperature(opened)
        _warn_of_an_idle_gpu(opened, pipeline)
        full_power_w, full_speed_s = _full_speed(opened, pipeline, folder, inputs, max_power_w)
        _warn_of_a_slow_machine(opened, full_speed_s)
        plant = LivePlant(
            opened,
            pipeline,
            replace(layout, max_power_w=max_power_w or full_power_w),
            folder,
            _drawn(pipeline, folder, inputs, surroundings) if service is None else _taken(service),
            surroundings,
            link,
            n_steps=steps,
            governed=governed,
        )
        opening.pop_all()
    objective = Objective(max_power_w=full_power_w, reference_latency_s=full_speed_s, **given)
    return EdgeSplitEnv(
        plant,
        objective,
        continuous=continuous,
        render_mode=mode,
        route_names=[option.name for option in folder.routes],
    )


def _pipeline(
    board: Board, folder: ModelFolder, client: CloudClient | None, execution: Execution, hold: Hold
) -> SplitPipeline:
    # A governor below a cap takes longer to go up than the cap does.
    pacer = BoardPacer(board, folder.routes, may_raise=hold is not Hold.CAP)
    runtime = SplitRuntime(folder, execution=execution)
    pipeline = SplitPipeline(folder, runtime, client, pacer)
    pipeline.warm_up()
    return pipeline


def _examples(board: Board, folder: ModelFolder, source: Path | None) -> Sequence[Inputs]:
    """Inputs in place of an application's; whose pictures the board prepares itself, if it does."""
    return (camera_inputs if board.prepares_inputs else example_inputs)(folder, source)


def _taken(service: LocalService) -> ApplicationRequests:
    service.start()
    return ApplicationRequests(service)


def _drawn(
    pipeline: SplitPipeline, folder: ModelFolder, inputs: Sequence[Inputs], scenario: Scenario
) -> ScenarioRequests:
    """Inputs in turn, with the unsplit network's labels if it is a classifier."""
    labels: list[int | None] = [None] * len(inputs)
    if folder.is_classifier:
        whole = folder.routes[-1].route
        labels = [int(pipeline.infer(x, whole, math.inf).logits.argmax()) for x in inputs]
    kind = BackToBackRequests if scenario.is_back_to_back else ScenarioRequests
    return kind(inputs, labels)


def _check_period(board: Board) -> None:
    """Refuse a board whose sensors are slower than the control step.

    Raises:
        EnvError: they are.
    """
    if board.shortest_window_s > STEP_S:
        raise EnvError(
            f"the power sensors of board {board.name} need {board.shortest_window_s:g} s for a "
            f"window, longer than the control step of {STEP_S:g} s; see python -m hw.doctor"
        )


def _check_temperature(board: Board) -> None:
    """Refuse a board that never reports its temperature; one that fails just now may answer later.

    Raises:
        UnsupportedError: it has no temperature sensor, or none with a limit.
    """
    with suppress(SensorReadError):
        board.margin_c()


def _warn_of_an_idle_gpu(board: Board, pipeline: SplitPipeline) -> None:
    """Warn when a GPU's clock is set, but the network does not run on it."""
    if "gpu" in board.domains and not board.modelled and pipeline.is_on_processor:
        logger.warning(
            "the GPU's clock of board %s is set, but the network runs on the processor only; "
            "install an ONNX Runtime with CUDA or TensorRT for this board, or name what it is to "
            "run on with --providers",
            board.name,
        )


def _warn_of_a_slow_machine(board: Board, full_speed_s: float) -> None:
    """Warn when a modelled board computes faster than this machine."""
    if board.too_slow_share > MOSTLY:
        logger.warning(
            "this machine is too slow to play board %s: at its highest clocks an inference takes "
            "%.0f ms here, longer than modelled, so that latencies and requests in time are this "
            "machine's; end other programs%s",
            board.device.name if board.device else board.name,
            1e3 * full_speed_s,
            "" if is_machine(board.name) else ", or take a slower --device",
        )


def _full_speed(
    board: Board,
    pipeline: SplitPipeline,
    folder: ModelFolder,
    inputs: Sequence[Inputs],
    max_power_w: float | None,
) -> tuple[float, float]:
    """Power in W and edge-only latency in s with all clocks at maximum, the cost's references.

    A board that does not know its largest power is measured while it runs the network, or, where
    that fails `N_TRIES` times, is taken to draw what the policy was trained for. A dry run takes
    the clocks as they are.

    Raises:
        HardwareError: that fails, and nothing is known of the board's power.
    """

    def latency_s() -> float:
        """Median of at least so many runs, and so long that the sensors resolve them."""
        seen_s: list[float] = []
        while len(seen_s) < REFERENCE_RUNS or sum(seen_s) < 2 * board.shortest_window_s:
            x = inputs[len(seen_s) % len(inputs)]
            seen_s.append(pipeline.infer(x, folder.routes[-1].route, math.inf).latency_s)
        return statistics.median(seen_s)

    failure: HardwareError
    for _ in range(N_TRIES):
        try:
            board.apply({name: domain.available_hz[-1] for name, domain in board.domains.items()})
            board.begin_window()
            full_speed_s = latency_s()
            energy = board.end_window()
        except (SensorReadError, FrequencyRejectedError) as error:
            failure = error
            continue
        if board.known_max_power_w is not None:
            return board.known_max_power_w, full_speed_s
        return energy.energy_j / energy.duration_s, full_speed_s
    if max_power_w is None:
        raise failure
    logger.warning(
        "power at full speed is unknown: %s; the largest power that the policy was trained for, "
        "%.1f W, stands in for it",
        failure,
        max_power_w,
    )
    return max_power_w, latency_s()
