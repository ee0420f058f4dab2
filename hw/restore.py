"""Giving a machine back: undo in reverse order, and say what could not be undone."""

from __future__ import annotations

from collections.abc import Callable

from hw.errors import HardwareError


class RestoreStack:
    """What has to be undone, in the order in which it was changed."""

    def __init__(self) -> None:
        self._actions: list[tuple[str, Callable[[], object]]] = []

    def push(self, what: str, undo: Callable[[], object]) -> None:
        """Remember how to undo something."""
        self._actions.append((what, undo))

    def restore(self) -> None:
        """Undo everything, last first; keep going when one fails.

        Raises:
            HardwareError: names everything that could not be undone.
        """
        failures = []
        while self._actions:
            what, undo = self._actions.pop()
            try:
                undo()
            except HardwareError as error:
                failures.append(f"{what} ({error})")
        if failures:
            raise HardwareError(f"could not restore {'; '.join(failures)}")
