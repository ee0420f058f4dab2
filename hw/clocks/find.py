"""All clocks that the kernel lets be set."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hw.base import FrequencyDomain
from hw.clocks.context import ClockContext
from hw.clocks.cpufreq import cpufreq_domains
from hw.clocks.devfreq import devfreq_domains
from hw.clocks.emc import emc_domains


class KernelDomain(FrequencyDomain, Protocol):
    """A clock that is set through files."""

    @property
    def written_files(self) -> tuple[Path, ...]:
        """Files that a request writes."""


def find_domains(context: ClockContext) -> dict[str, KernelDomain]:
    """Find all clock domains, by name; processors first, memory last."""
    found: dict[str, KernelDomain] = {}
    found.update(cpufreq_domains(context))
    found.update(devfreq_domains(context))
    found.update(emc_domains(context))
    return found
