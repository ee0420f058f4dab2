"""What a model folder takes from its `profile.json`, schema 2: fidelity and threads.

`python -m partition.profile` writes the file, `partition.profile.measure.profile` says what is in
it. Needs no graph library, so that a simulator can read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from common.schema import Share, convert
from partition import json_file
from partition.codec import quantisers
from partition.errors import ModelFolderError
from partition.model.machine import describe_processor

SCHEMA_VERSION = 2
PROFILE_FILE = "profile.json"
TOP1 = "top-1"
"""Measure of a classifier."""


class Fidelity(Struct, frozen=True):
    """What is left of the unsplit network's answer, by the profile's measure."""

    value: Share


class _Point(Struct, frozen=True):
    fidelity: dict[str, Fidelity | None]
    """By name of the codec; None where it is unknown."""


class Profile(Struct, frozen=True):
    """The part of a profile that decides something; the rest is for people."""

    fingerprint: str
    """Of the network."""
    cut_list: str
    machine: dict[str, Any]
    threads: Annotated[int, Meta(ge=1, le=4096)]
    """Fastest number per inference on that machine."""
    measure: str | None
    """Name of the measure of fidelity; None where it is unknown."""
    split_points: tuple[_Point, ...]

    @property
    def threads_here(self) -> int | None:
        """Fastest number of threads; None if another machine was profiled."""
        is_here = self.machine | describe_processor() == self.machine
        return self.threads if is_here else None

    @property
    def fidelity(self) -> tuple[float, ...] | None:
        """Of each split point with the default codec; None unless all are known."""
        found = [point.fidelity.get(quantisers.DEFAULT.name) for point in self.split_points]
        values = [each.value for each in found if each is not None]
        return tuple(values) if self.measure and len(values) == len(found) else None


def read(folder: Path, fingerprint: str, cut_list: str, n_points: int) -> Profile | None:
    """The profile of a network; None if it was not profiled, or another one was.

    Args:
        folder: the model folder.
        fingerprint: of the network.
        cut_list: fingerprint of its routes.
        n_points: its split points.

    Raises:
        ModelFolderError: the profile is corrupt or of another schema.
    """
    path = folder / PROFILE_FILE
    try:
        data = json_file.read(path)
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            reason = f"is of schema {version!r}, this version reads {SCHEMA_VERSION}"
            raise _refused(folder, reason)
        profile = convert(data, Profile)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _refused(folder, f"is corrupt ({error})") from error
    if (profile.fingerprint, profile.cut_list) != (fingerprint, cut_list):
        return None
    if len(profile.split_points) != n_points:
        reason = f"holds {len(profile.split_points)} split points, the network has {n_points}"
        raise _refused(folder, reason)
    return profile


def _refused(folder: Path, reason: str) -> ModelFolderError:
    return ModelFolderError(
        f"{folder / PROFILE_FILE} {reason}: run python -m partition.profile --model {folder} "
        "again, or delete it"
    )
