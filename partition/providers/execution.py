"""Choice of execution providers: what was asked for, or the best that works here."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from partition.errors import ProviderError
from partition.providers import check
from partition.providers.registry import CPU, PROVIDERS, Provider

logger = logging.getLogger(__name__)
_told: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Where networks run, and what they may take there."""

    providers: tuple[Provider, ...] = (CPU,)
    """In order of preference; the processor, which computes what the others cannot, is the last."""
    is_chosen: bool = False
    """Whether somebody asked for just these: then none may be missing."""
    memory_bytes: int | None = None
    """Most that one session may take of a GPU's memory; None is unlimited."""
    max_batch: int = 1
    """Samples that are run together at most: what compiled graphs are made for."""

    @classmethod
    def choose(
        cls,
        asked: tuple[Provider, ...] | None = None,
        *,
        memory_bytes: int | None = None,
        max_batch: int = 1,
    ) -> Execution:
        """Providers that were asked for; None takes the best that work here.

        One that is installed and does not work is reported once, with the reason.

        Raises:
            ProviderError: one that was asked for does not work here.
        """
        if asked is None:
            _report_broken()
        chosen = check.automatic() if asked is None else asked
        for provider in chosen:
            reason = check.why_not(provider)
            if reason is not None:
                raise does_not_run(provider, reason)
        return cls(
            providers=(*(p for p in chosen if p is not CPU), CPU),
            is_chosen=asked is not None,
            memory_bytes=memory_bytes,
            max_batch=max_batch,
        )


def does_not_run(provider: Provider, reason: str) -> ProviderError:
    """The error of a provider that was asked for."""
    working = ", ".join(p.name for p in check.working())
    return ProviderError(
        f"provider {provider.name} does not run here ({reason}): install that, or take what runs "
        f"here, --providers {working}"
    )


def _report_broken() -> None:
    for provider in PROVIDERS.values():
        if provider.is_automatic and check.is_built_in(provider) and provider.name not in _told:
            reason = check.why_not(provider)
            if reason is not None:
                _told.add(provider.name)
                logger.warning(
                    "provider %s is built into this ONNX Runtime and does not work here: %s",
                    provider.name,
                    reason,
                )
