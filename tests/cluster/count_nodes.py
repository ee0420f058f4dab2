"""How many nodes a Ray cluster has."""

from __future__ import annotations

import sys

import ray

ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
print(sum(node["Alive"] for node in ray.nodes()))
