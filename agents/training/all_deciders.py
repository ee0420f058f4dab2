"""Registry of every decider by name: those that learn, and all of `agents.registry`."""

from __future__ import annotations

from functools import partial

from agents.deciders.fitted import DeciderEntry, Deciders
from agents.registry import UNLEARNED
from agents.training.algorithms import ALGORITHMS
from agents.training.learn import fit_learned

_LEARNED = {name: DeciderEntry("learned", partial(fit_learned, name)) for name in ALGORITHMS}
DECIDERS = Deciders(_LEARNED | UNLEARNED.entries)
