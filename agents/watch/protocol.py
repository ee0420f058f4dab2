"""What both ends of a look at a driven board agree on; imports nothing that takes time."""

from __future__ import annotations

STATUS, TOP = COMMANDS = ("status", "top")
"""First word of `deploy.py` where a driven board is looked at."""
STATE_PATH = "/state"
SILENT_S = 10.0
"""A control loop whose last step is older has stopped; the page knows the same number."""
