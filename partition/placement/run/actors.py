"""Ray actors: a stage on each device, and the pipeline's two ends where inputs are.

Ray starts, watches and restarts; tensors travel on streams of their own (`partition.stages`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import ray

from partition.model.folder import ModelFolder
from partition.model.runtime import Array, random_inputs
from partition.stages.errors import StageError, StageLostError
from partition.stages.pipeline_driver import PipelineDriver
from partition.stages.probe import link_rate_bps
from partition.stages.server import StageServer
from partition.stages.session import StageSpec

LABEL = "dvfo-device"
"""Of a Ray node: the device's name in the cluster file."""
_ADDRESS_TIMEOUT_S = 2.0
_PREFER_S = 0.5
"""To wait for the one that worked before, or for another replica, where one has answered."""
_PROBE_TIMEOUT_S = 3.0
_INPUTS = 4
"""Different frames, sent in turn."""


@dataclass(frozen=True, slots=True)
class PlacedStage:
    """Actors that compute between two cuts."""

    devices: tuple[str, ...]
    """More than one are replicas."""
    actors: tuple[tuple[Any, ...], ...]
    """On each device; one of them works, the others are spare."""
    start: int
    end: int


_Asked = tuple[Any, Any]
"""An actor, and its answer to come: where it listens."""


class StageActor:
    """Waits on its node for whatever stage a session asks for.

    Args:
        model: folder of the network.
        fingerprint: of the network that the others have.
    """

    def __init__(self, model: Path, fingerprint: str) -> None:
        self._model = model
        self._fingerprint = fingerprint

    @cached_property
    def _stage(self) -> StageServer:
        # Not at the start: of an actor that does not start Ray gives a stack trace for a reason.
        folder = ModelFolder.open(self._model).plain
        if folder.fingerprint != self._fingerprint:
            raise StageError(
                f"model folder {self._model} holds network {folder.fingerprint} there, not "
                f"{self._fingerprint}"
            )
        return StageServer(folder, f"{ray.util.get_node_ip_address()}:0").__enter__()

    def address(self) -> str:
        """HOST:PORT; another one after a restart.

        Raises:
            PartitionError: no stage can run here.
        """
        return self._stage.address

    def pid(self) -> int:
        """Of the process."""
        return os.getpid()

    def statistics(self) -> dict[str, Any]:
        """See `StageServer.statistics`."""
        return self._stage.statistics()

    def probe(self, address: str) -> float:
        """Bits per second to a stage that listens at an address."""
        return link_rate_bps(address, _PROBE_TIMEOUT_S)


class LineActor:
    """Feeds the stages with random frames and compares what comes back with the whole network's.

    Args:
        model: folder of the network.
        codec: how tensors cross.
        queue_depth: frames that may wait in front of a stage.
    """

    def __init__(self, model: Path, codec: str, queue_depth: int) -> None:
        self._folder = ModelFolder.open(model)
        self._stages: tuple[PlacedStage, ...] = ()
        self._version = 0
        self._routed: int | None = None
        self._working: tuple[Any, ...] = ()
        self._left_out: dict[str, list[Any]] = {}
        self._guard = threading.Lock()
        self._results: list[tuple[float, int]] = []
        self._line = PipelineDriver(
            self._folder,
            self._route,
            f"{ray.util.get_node_ip_address()}:0",
            codec=codec,
            queue_depth=queue_depth,
        )

    def place(self, stages: tuple[PlacedStage, ...], version: int) -> None:
        """Use these stages from now on."""
        with self._guard:
            self._stages, self._version = stages, version
        self._line.renew("stages are placed again")

    def run(self, n_frames: int, expected: tuple[tuple[Array, ...], ...]) -> dict[str, Any]:
        """Send frames and take their results.

        Args:
            n_frames: how many.
            expected: the whole network's outputs for `sample_inputs`.

        Returns:
            wrong: results that are nearer to another frame's than to their own.
            largest_error: of any output value.
            seconds: from the first result to each one, and the version of the placement.
            breaks: times that the line stood still.
        """
        wrong, largest = 0, 0.0
        with self._line as line:
            for number, outputs in enumerate(line.run(self._frames(n_frames))):
                self._results.append((time.monotonic(), self._version))
                errors = [_error(outputs, other) for other in expected]
                wrong += int(np.argmin(errors)) != number % len(expected)
                largest = max(largest, errors[number % len(expected)])
        began_s = self._results[0][0]
        return {
            "wrong": wrong,
            "largest_error": largest,
            "seconds": [(when_s - began_s, version) for when_s, version in self._results],
            "breaks": [asdict(each) for each in line.breaks],
        }

    def progress(self) -> dict[str, Any]:
        """Statistics of the line, and the version of the placement that its session is of."""
        return {**self._line.statistics(), "version": self._routed}

    def rejoin(self) -> None:
        """Have replicas take part again that did not answer when stages were last asked."""
        for device, answers in self._left_out.items():
            if _is_back(answers):
                self._left_out = {}
                self._line.renew(f"replica {device} is back")
                return

    def probe(self, address: str) -> float:
        """Bits per second to a stage that listens at an address."""
        return link_rate_bps(address, _PROBE_TIMEOUT_S)

    def _frames(self, n_frames: int) -> Iterator[tuple[Array, ...]]:
        samples = sample_inputs(self._folder)
        for number in range(n_frames):
            yield samples[number % len(samples)]

    def _route(self) -> tuple[StageSpec, ...]:
        """The stages on those replicas that answer: one of each stage, or more."""
        with self._guard:
            stages, version = self._stages, self._version
        asked = [[self._ask(actors) for actors in stage.actors] for stage in stages]
        ready = _wait_for_each(asked)
        hops, working = [], []
        left_out: dict[str, list[Any]] = {}
        for stage, replicas in zip(stages, asked, strict=True):
            found = []
            lost = StageLostError("a stage has not come back yet")
            for device, replica in zip(stage.devices, replicas, strict=True):
                try:
                    found.append(_first([pair for pair in replica if pair[1] in ready]))
                except StageLostError as error:
                    lost = error
                    left_out[device] = [answer for _, answer in replica]
            if not found:
                raise lost
            working += [actor for actor, _ in found]
            hops.append(StageSpec(tuple(address for _, address in found), stage.start, stage.end))
        self._working, self._left_out = tuple(working), left_out
        self._routed = version
        return tuple(hops)

    def _ask(self, actors: tuple[Any, ...]) -> list[_Asked]:
        """Actors of a device, the one that worked before first, and where each listens."""
        preferred = sorted(actors, key=lambda actor: actor not in self._working)
        return [(actor, actor.address.remote()) for actor in preferred]


def _wait_for_each(stages: list[list[list[_Asked]]]) -> set[Any]:
    """Answers that are there once each stage has one; the others are not waited for."""
    pending = [[answer for replica in stage for _, answer in replica] for stage in stages]
    answers = [answer for some in pending for answer in some]
    due_s = time.monotonic() + _ADDRESS_TIMEOUT_S
    while True:
        ready = set(ray.wait(answers, num_returns=len(answers), timeout=_PREFER_S)[0])
        if all(ready.intersection(some) for some in pending) or time.monotonic() > due_s:
            return ready


def _first(answers: list[_Asked]) -> tuple[Any, str]:
    """The first of a device's actors that has answered, and where it listens."""
    lost = StageLostError("a stage has not come back yet")
    for actor, answer in answers:
        try:
            return actor, ray.get(answer)
        except ray.exceptions.RayActorError as error:
            lost = StageLostError(f"a stage is gone: {error}")
        except ray.exceptions.RayTaskError as error:
            raise StageError(f"a stage does not start: {error.cause}") from error
    raise lost


def _is_back(answers: list[Any]) -> bool:
    """Whether one of a device's actors has answered since."""
    for answer in ray.wait(answers, num_returns=len(answers), timeout=0)[0]:
        with suppress(ray.exceptions.RayError):
            ray.get(answer)
            return True
    return False


def reason_of(error: ray.exceptions.RayError) -> str:
    """What is wrong, in a line: of what failed in an actor the cause, without where it failed."""
    cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return lines[-1].strip()


def sample_inputs(folder: ModelFolder) -> list[tuple[Array, ...]]:
    """The frames that a trial run sends in turn."""
    return [random_inputs(folder, seed=seed) for seed in range(_INPUTS)]


def _error(outputs: tuple[Array, ...], expected: tuple[Array, ...]) -> float:
    pairs = zip(outputs, expected, strict=True)
    return max(float(np.abs(a.astype(float) - b.astype(float)).max()) for a, b in pairs)
