"""Registry of every kind of rule by name; each stands in the file of its decider."""

from __future__ import annotations

from agents.advised.rule import ADVISED
from agents.baselines.appealnet import APPEALNETS
from agents.baselines.closed_form import CLOSED_FORM
from agents.baselines.dynamic_split import DYNAMIC_SPLITS
from agents.baselines.dynasplit import DYNASPLIT, PUBLISHED
from agents.baselines.model_search import MODEL_SEARCH
from agents.baselines.neurosurgeon import NEUROSURGEONS
from agents.baselines.two_points import TWO_POINTS
from agents.deciders.governor import FIXED_ROUTE
from agents.deciders.static import RANDOM, STATIC

_KINDS = (
    ADVISED,
    MODEL_SEARCH,
    DYNASPLIT,
    PUBLISHED,
    TWO_POINTS,
    CLOSED_FORM,
    *NEUROSURGEONS,
    *DYNAMIC_SPLITS,
    *APPEALNETS,
    FIXED_ROUTE,
    STATIC,
    RANDOM,
)
KINDS = {kind.name: kind for kind in _KINDS}
