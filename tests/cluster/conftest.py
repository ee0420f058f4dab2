"""One small Ray cluster for all tests here: it takes half a minute to start."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.local_ray import LocalRay


@pytest.fixture(scope="session")
def local_ray() -> Iterator[LocalRay]:
    pytest.importorskip("ray")
    with (
        tempfile.TemporaryDirectory(prefix="dvfo-ray-") as scratch,
        LocalRay(("a", "b"), Path(scratch)) as cluster,
    ):
        yield cluster
