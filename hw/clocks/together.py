"""Linked clocks: several that are driven as one.

Processors for PCs have a cpufreq policy for each core, all with the same operating points: an agent
that had to learn sixteen equal axes would learn none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hw.base import Applied, Cause
from hw.clocks.limits_domain import LimitsDomain


class TogetherDomain:
    """Several clocks with the same operating points.

    What is read is the lowest of them, for the slowest core makes the others wait.

    Args:
        name: domain name.
        members: at least one, with the same operating points.
    """

    def __init__(self, name: str, members: Sequence[LimitsDomain]) -> None:
        self.name = name
        self.members = tuple(members)
        self.available_hz = members[0].available_hz

    @property
    def written_files(self) -> tuple[Path, ...]:
        """Files that a request writes."""
        return tuple(file for member in self.members for file in member.written_files)

    def join(self, member: LimitsDomain) -> None:
        """Take up a clock that came online later."""
        self.members = (*self.members, member)

    def read_hz(self) -> int:
        """Read the lowest clock in force, Hz; 0 while all are offline."""
        return min(filter(None, (member.read_hz() for member in self.members)), default=0)

    def request(self, freq_hz: int) -> Applied:
        """Ask all for the nearest operating point; what the worst of them became.

        Raises:
            HardwareError: the kernel refused a write.
        """
        return _worst([member.request(freq_hz) for member in self.members])

    def forget(self) -> None:
        """Begin anew: what was set here has been put back."""
        for member in self.members:
            member.forget()

    def verify(self) -> Applied | None:
        """Compare the last request with what is in force now; None if there was none."""
        found = [applied for member in self.members if (applied := member.verify()) is not None]
        return _worst(found) if found else None


def _worst(applied: Sequence[Applied]) -> Applied:
    """Of those that are online; cores that were taken offline delay no work."""
    applied = [one for one in applied if one.cause is not Cause.OFFLINE] or applied
    return min(applied, key=lambda one: (one.cause is None, one.applied_hz))
