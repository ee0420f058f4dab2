"""What both ends of a look at a driven board agree on; imports nothing that takes time."""

from __future__ import annotations

STATE_PATH = "/state"
SILENT_S = 10.0
"""A control loop whose last step is older has stopped; the page knows the same number."""
GOVERNOR = "governor"
"""Against whom a saving is asked for first, as `deploy.py --against` names it."""
