"""What Ray keeps alive on the devices: a stage on each, and the line's ends where inputs are.

Ray starts, watches and restarts; tensors travel on streams of their own (`partition.stages`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import ray

from partition.model.folder import ModelFolder
from partition.model.runtime import Array, random_inputs
from partition.stages.errors import StageError, StageLostError
from partition.stages.line import Line
from partition.stages.probe import link_rate_bps
from partition.stages.server import Stage
from partition.stages.session import Hop

LABEL = "dvfo-device"
"""Of a Ray node: the device's name in the cluster file."""
PlacedStage = tuple[tuple[Any, ...], int, int]
"""Its actors on one device, of which one works and others are spare; first and last cut."""
_ADDRESS_TIMEOUT_S = 2.0
_PREFER_S = 0.5
"""To wait for the one that worked before, where a spare one has answered."""
_PROBE_TIMEOUT_S = 3.0
_INPUTS = 4
"""Different frames, sent in turn."""


class StageActor:
    """Waits on its node for whatever stage a session asks for."""

    def __init__(self, model: Path) -> None:
        folder = ModelFolder.open(model)
        self._stage = Stage(folder, f"{ray.util.get_node_ip_address()}:0").__enter__()

    def address(self) -> str:
        """HOST:PORT; another one after a restart."""
        return self._stage.address

    def pid(self) -> int:
        """Of the process."""
        return os.getpid()

    def statistics(self) -> dict[str, Any]:
        """See `Stage.statistics`."""
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
        self._working: tuple[Any, ...] = ()
        self._guard = threading.Lock()
        self._results: list[tuple[float, int]] = []
        self._line = Line(
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
        self._line.renew("stages are placed anew")

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
        """Results so far, and the rate of the link to the first stage."""
        return self._line.statistics()

    def probe(self, address: str) -> float:
        """Bits per second to a stage that listens at an address."""
        return link_rate_bps(address, _PROBE_TIMEOUT_S)

    def _frames(self, n_frames: int) -> Iterator[tuple[Array, ...]]:
        samples = sample_inputs(self._folder)
        for number in range(n_frames):
            yield samples[number % len(samples)]

    def _route(self) -> tuple[Hop, ...]:
        with self._guard:
            stages = self._stages
        actors = [sorted(some, key=lambda a: a not in self._working) for some, _, _ in stages]
        found = _addresses(actors)
        self._working = tuple(actor for actor, _ in found)
        return tuple(
            Hop(address, start, end)
            for (_, address), (_, start, end) in zip(found, stages, strict=True)
        )


def _addresses(stages: list[list[Any]]) -> list[tuple[Any, str]]:
    """Per stage, the first of its actors that answers, and where it listens."""
    asked = [[actor.address.remote() for actor in actors] for actors in stages]
    answers = [answer for some in asked for answer in some]
    due_s = time.monotonic() + _ADDRESS_TIMEOUT_S
    ready = ray.wait(answers, num_returns=len(answers), timeout=_PREFER_S)[0]
    while not all(set(some) & set(ready) for some in asked) and time.monotonic() < due_s:
        ready = ray.wait(answers, num_returns=len(answers), timeout=_PREFER_S)[0]
    found = []
    for actors, some in zip(stages, asked, strict=True):
        there = [pair for pair in zip(actors, some, strict=True) if pair[1] in ready]
        found.append(_first(there))
    return found


def _first(answers: list[tuple[Any, Any]]) -> tuple[Any, str]:
    lost = StageLostError("a stage has not come back yet")
    for actor, answer in answers:
        try:
            return actor, ray.get(answer)
        except ray.exceptions.RayActorError as error:
            lost = StageLostError(f"a stage is gone: {error}")
        except ray.exceptions.RayTaskError as error:
            raise StageError(f"a stage does not start: {error.cause}") from error
    raise lost


def sample_inputs(folder: ModelFolder) -> list[tuple[Array, ...]]:
    """The frames that a trial run sends in turn."""
    return [random_inputs(folder, seed=seed) for seed in range(_INPUTS)]


def _error(outputs: tuple[Array, ...], expected: tuple[Array, ...]) -> float:
    pairs = zip(outputs, expected, strict=True)
    return max(float(np.abs(a.astype(float) - b.astype(float)).max()) for a, b in pairs)
