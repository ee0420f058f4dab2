"""Policy folders as earlier versions wrote them: schema versions 1 to 4, networks and rules."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.policy import checksum

OLD_VERSIONS = (1, 2, 3, 4)
_LATEST = 4
"""Has all of today but statistics of a network's observations."""
_VERSIONS = {"network": (2, 3), "rule": (1, 2), "privileged": (1, 2)}
"""Without a checksum in `policy.json`, and with one."""


def upgraded(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Turn an old `policy.json` into one of today, and the arrays that it held itself.

    Raises:
        ValueError: it is damaged, or no version wrote such a kind.
    """
    kind = document.get("kind", "network")
    if document["schema_version"] == _LATEST:
        checksum.check(document)
        return document | {"clip_obs": None}, {}
    without, with_checksum = _VERSIONS[kind]
    if document["schema_version"] not in (without, with_checksum):
        raise ValueError(f"no {kind} was written in schema version {document['schema_version']}")
    if document["schema_version"] != without:
        checksum.check(document)
    arrays: dict[str, NDArray[Any]] = {}
    parameters = dict(document.get("parameters", {}))
    for number, layer in enumerate(parameters.pop("layers", [])):
        weight, bias = (
            np.frombuffer(base64.b64decode(layer[key], validate=True), dtype="<f4")
            for key in ("weight", "bias")
        )
        arrays[f"{number}.weight"] = weight.reshape(len(bias), int(layer["n_inputs"]))
        arrays[f"{number}.bias"] = bias
    changed = {"parameters": parameters} if kind == "rule" else {}
    return document | {"kind": kind, "clip_obs": None} | changed, arrays
