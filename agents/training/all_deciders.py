"""Registry of every decider by name: those that learn, all of `agents.registry`, a user's own."""

from __future__ import annotations

from functools import partial

from agents.deciders.fitted import DeciderEntry, Deciders
from agents.deciders.own import find, is_own, own_entry
from agents.registry import UNLEARNED
from agents.training.algorithms import ALGORITHMS, learns
from agents.training.learn import fit_learned


class AllDeciders(Deciders):
    """Deciders by name; `MODULE:NAME` is a user's own class or recipe."""

    def entry(self, name: str) -> DeciderEntry:
        """Look one up.

        Raises:
            AgentError: unknown name, or code that cannot be imported or is no decider.
        """
        if learns(name):
            return DeciderEntry("learned", partial(fit_learned, name))
        return own_entry(name, find(name)) if is_own(name) else super().entry(name)


_LEARNED = {name: DeciderEntry("learned", partial(fit_learned, name)) for name in ALGORITHMS}
DECIDERS = AllDeciders(_LEARNED | UNLEARNED.entries)
