"""Pool of stage actors: started where there is a node, used once they have answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

import ray

from partition.placement.run.actors import reason_of

_STEP_S = 0.5
START_TIMEOUT_S = 120.0
"""For a process, Python, Ray and the network's files on a busy board."""


class StagePool:
    """Stage actors of a cluster's devices, and which devices can run a stage.

    Args:
        make: starts the actors of a device: one that works, the others spare.
        refuse: called with a device that cannot run a stage, and why.
    """

    def __init__(
        self,
        make: Callable[[str], tuple[Any, ...]],
        refuse: Callable[[str, str], None],
    ) -> None:
        self._make = make
        self._refuse = refuse
        self._actors: dict[str, tuple[Any, ...]] = {}
        self._asked: dict[str, tuple[Any, float]] = {}
        """Answers to come, and when they are given up."""
        self.usable: set[str] = set()
        """Devices that can run a stage."""
        self.refused: dict[str, str] = {}
        """Devices that cannot, and why, until their node has gone."""

    def actors(self, device: str) -> tuple[Any, ...]:
        """Those of a device; none where none was started."""
        return self._actors.get(device, ())

    def update(self, alive: Collection[str], timeout_s: float = 0.0) -> list[str]:
        """Notice which devices have come and gone.

        Args:
            alive: devices that have a node.
            timeout_s: to wait for those that have come.

        Returns:
            Devices that can be used from now on.
        """
        for device in {*self._actors, *self.usable, *self.refused} - set(alive):
            self._forget(device)
        self._ask(sorted(set(alive) - self.usable - set(self.refused) - set(self._asked)))
        return self._settle(list(self._asked), timeout_s)

    def require(self, devices: Iterable[str], go_on: Callable[[], bool] = lambda: True) -> bool:
        """Whether stages run on all of these devices; they are started where they do not.

        Args:
            devices: their names.
            go_on: asked again and again whether to wait for those that start.
        """
        needed = set(devices)
        self._ask(sorted(needed - set(self._actors)))
        while starting := [device for device in self._asked if device in needed]:
            if not go_on():
                return False
            self._settle(starting, _STEP_S)
        return needed <= self.usable

    def wait(self) -> None:
        """Wait for every process, spare ones too."""
        everyone = [actor.address.remote() for actors in self._actors.values() for actor in actors]
        ray.wait(everyone, num_returns=len(everyone), timeout=START_TIMEOUT_S)

    def keep(self, devices: Collection[str]) -> None:
        """End the stages of all other devices that have answered."""
        for device in set(self._actors) - set(devices) - set(self._asked):
            self._end(device)

    def close(self) -> None:
        """End all of them."""
        for device in list(self._actors):
            self._end(device)

    def _ask(self, devices: Iterable[str]) -> None:
        due_s = time.monotonic() + START_TIMEOUT_S
        for device in devices:
            self._actors[device] = self._make(device)
            self._asked[device] = self._actors[device][0].address.remote(), due_s

    def _settle(self, devices: Collection[str], timeout_s: float) -> list[str]:
        """Take the answers of devices that were asked; those that can be used."""
        if not devices:
            return []
        answers = [self._asked[device][0] for device in devices]
        ready, _ = ray.wait(answers, num_returns=len(answers), timeout=timeout_s)
        found = []
        for device in devices:
            answer, due_s = self._asked[device]
            if answer in ready:
                reason = _failure(answer)
            elif time.monotonic() >= due_s:
                reason = f"its stage has not started within {START_TIMEOUT_S:g} s"
            else:
                continue
            del self._asked[device]
            if reason is None:
                self.usable.add(device)
                found.append(device)
            else:
                self.usable.discard(device)
                self.refused[device] = reason
                self._end(device)
                self._refuse(device, reason)
        return found

    def _forget(self, device: str) -> None:
        self._actors.pop(device, None)
        self._asked.pop(device, None)
        self.refused.pop(device, None)
        self.usable.discard(device)

    def _end(self, device: str) -> None:
        for actor in self._actors.pop(device):
            ray.kill(actor)


def _failure(answer: Any) -> str | None:
    """Why a stage does not start; None: it has."""
    try:
        ray.get(answer)
    except ray.exceptions.RayError as error:
        return reason_of(error)
    return None
