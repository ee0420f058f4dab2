"""Every decider by name: those that learn, and all of `agents.deciders.registry`."""

from __future__ import annotations

from functools import partial

from agents.algorithms import ALGORITHMS
from agents.deciders.fitted import Deciders, Entry
from agents.deciders.registry import UNLEARNED
from agents.training import fit_learned

_LEARNED = {name: Entry("learned", partial(fit_learned, name)) for name in ALGORITHMS}
DECIDERS = Deciders(_LEARNED | UNLEARNED.entries)
