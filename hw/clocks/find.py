"""Discovery of all clocks that the kernel lets be set."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hw.base import FrequencyDomain
from hw.clocks.context import ClockContext
from hw.clocks.cpufreq import cpufreq_domains
from hw.clocks.devfreq import devfreq_domains
from hw.clocks.emc import EmcDomain, emc_domains
from hw.clocks.limits_domain import LimitsDomain
from hw.clocks.together import TogetherDomain


class KernelDomain(FrequencyDomain, Protocol):
    """A clock that is set through files."""

    @property
    def written_files(self) -> tuple[Path, ...]:
        """Files that a request writes."""

    def forget(self) -> None:
        """Begin anew: what was set here has been put back."""


def find_domains(context: ClockContext) -> dict[str, KernelDomain]:
    """Find all clock domains, by name; processors first, memory last.

    Those that cannot be read are left out, and named in the context's `left_out`.
    """
    found: dict[str, KernelDomain] = {}
    found.update(cpufreq_domains(context))
    found.update(devfreq_domains(context))
    with context.leaving_out("emc"):
        found.update(emc_domains(context))
    return found


def check_readable(domain: KernelDomain) -> None:
    """Read what driving a clock takes.

    Raises:
        HardwareError: its clock or its present settings cannot be read.
    """
    domain.read_hz()
    members = domain.members if isinstance(domain, TogetherDomain) else (domain,)
    for member in members:
        if isinstance(member, LimitsDomain):
            member.read_limits_hz()
        elif isinstance(member, EmcDomain):
            member.check_readable()
