"""`policy.json` as earlier versions wrote it: schema versions 1 to 5, networks and rules."""

from __future__ import annotations

from typing import Any

from agents.policy import checksum

OLD_VERSIONS = (1, 2, 3, 4, 5)
_SEALED_FOR_ALL = (4, 5)
_VERSIONS = {"network": (2, 3), "rule": (1, 2), "privileged": (1, 2)}
"""Before those: without a checksum in `policy.json`, and with one."""


def upgraded(document: dict[str, Any]) -> dict[str, Any]:
    """Turn an old `policy.json` into one of today.

    What was learned on its observations, whose bounds were others, is read all the same, so that
    the reason for its refusal is told.

    Raises:
        ValueError: it is damaged, or no version wrote such a kind.
    """
    kind, version = document.get("kind", "network"), document["schema_version"]
    without, with_checksum = _VERSIONS[kind]
    if version not in (without, with_checksum, *_SEALED_FOR_ALL):
        raise ValueError(f"no {kind} was written in schema version {version}")
    if version != without:
        checksum.check(document)
    return {"kind": kind, "clip_obs": None} | document
