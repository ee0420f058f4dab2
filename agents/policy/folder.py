"""The folder of a policy: `policy.json`, and `weights.safetensors` for its arrays; no code.

`policy.json` names the kind of policy, what made it and the layout of the plant it was made for;
what else it holds depends on the kind. Both files have checksums.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from agents.deciders.base import Decider
from agents.deciders.nominal import NominalModel
from agents.errors import PolicyError
from agents.policy import checksum
from agents.policy.old_policies import OLD_VERSIONS, upgraded
from agents.whole_file import written_whole
from common.regular_file import read_bytes
from envs.governed.governing import Governing
from envs.plant import Axis, Layout
from partition import json_file

SCHEMA_VERSION = 6
METADATA_FILE = "policy.json"
WEIGHTS_FILE = "weights.safetensors"
PRIVILEGED = "privileged"
_WEIGHTS_SHA256 = "weights_sha256"
_COMMON = ("schema_version", "kind", "algorithm", "layout", _WEIGHTS_SHA256, checksum.KEY)

Tensors = dict[str, NDArray[Any]]


class Policy(Protocol):
    """What decides, as a folder keeps it and boards are driven by it."""

    @property
    def kind(self) -> str:
        """What it is: "network", or the name of a rule."""

    @property
    def algorithm(self) -> str:
        """What made it, as `train.py --algo` takes it."""

    @property
    def layout(self) -> Layout:
        """Layout of the plant that it was made for."""

    @property
    def leaves_clocks(self) -> bool:
        """Whether all clocks are the stock governors' business."""

    @property
    def governing(self) -> Governing | None:
        """Governors of the clocks that it leaves alone, as simulated boards have them."""

    def check_layout(self, layout: Layout) -> None:
        """Refuse to drive anything but what the policy was made for.

        Raises:
            PolicyError: another board, other clocks, another model or other routes.
        """

    def promising(self, promise: float) -> Policy:
        """The same, held to this share of requests in time.

        Raises:
            PolicyError: the policy weighs no actions by what they are expected to do.
        """

    def decider(self, known: Callable[[], NominalModel]) -> Decider:
        """Get ready for boards of which `known` holds what is public; not all policies ask.

        Raises:
            KeyError, TypeError, ValueError, IndexError: what the folder held does not fit.
        """

    def save(self, folder: Path) -> None:
        """Write the folder.

        Raises:
            OSError: it cannot be written.
        """


@dataclass(frozen=True, slots=True)
class Stored:
    """What the folder of a policy holds.

    Attributes:
        kind: of policy.
        algorithm: that made it.
        layout: of the plant it was made for.
        content: what else a policy of this kind needs, plain values.
        tensors: arrays by name.
    """

    kind: str
    algorithm: str
    layout: Layout
    content: dict[str, Any]
    tensors: Tensors


def write(folder: Path, stored: Stored) -> None:
    """Write both files; `policy.json` last, so that a folder with it is complete.

    Raises:
        OSError: they cannot be written.
        ValueError: a plain value is no finite number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    blob = save({name: np.ascontiguousarray(array) for name, array in stored.tensors.items()})
    document = {
        "schema_version": SCHEMA_VERSION,
        "kind": stored.kind,
        "algorithm": stored.algorithm,
        "layout": asdict(stored.layout),
        **stored.content,
        _WEIGHTS_SHA256: hashlib.sha256(blob).hexdigest(),
    }
    text = json.dumps(checksum.sealed(document), indent=1, allow_nan=False)
    with written_whole(folder / WEIGHTS_FILE) as stream:
        stream.write(blob)
    with written_whole(folder / METADATA_FILE) as stream:
        stream.write(f"{text}\n".encode())


def read(folder: Path) -> Stored:
    """Read a folder, of an earlier version, too.

    Raises:
        PolicyError: missing, half-written, damaged, or of another schema version.
    """
    document = _document(folder)
    try:
        is_old = document["schema_version"] != SCHEMA_VERSION
        if is_old:
            document = upgraded(document)
        else:
            checksum.check(document)
        has_none = is_old and _WEIGHTS_SHA256 not in document
        tensors = {} if has_none else _tensors(folder, document)
        if document["kind"] == PRIVILEGED:
            raise PolicyError(
                f"{document['algorithm']} looks into the simulation and cannot drive a board; "
                f"deploy a learned policy or a rule"
            )
        content = {key: value for key, value in document.items() if key not in _COMMON}
        layout = _layout(document["layout"])
        return Stored(document["kind"], str(document["algorithm"]), layout, content, tensors)
    except DAMAGE as error:
        raise damaged(folder, error) from None


def promises_nothing(algorithm: str) -> PolicyError:
    """Say that a policy can promise nothing."""
    return PolicyError(
        f"a policy of {algorithm} can promise no share of requests in time; give a run of advised"
    )


DAMAGE = (SafetensorError, LookupError, TypeError, ValueError, OverflowError)
"""What reading a folder that holds nonsense ends in."""


def damaged(folder: Path, error: Exception) -> PolicyError:
    """Say that a folder is damaged, and by what."""
    reason = f"{type(error).__name__}: {error}"
    return PolicyError(f"{folder} is damaged ({reason}); copy or train it again")


def _document(folder: Path) -> dict[str, Any]:
    path = folder / METADATA_FILE
    try:
        document = json_file.read(path)
    except FileNotFoundError:
        raise PolicyError(
            f"{path} does not exist; give the folder of a finished training run"
        ) from None
    except (OSError, ValueError) as error:
        raise PolicyError(f"{path} cannot be read ({error}); copy or train it again") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version not in (*OLD_VERSIONS, SCHEMA_VERSION):
        raise PolicyError(
            f"{path} has schema version {version!r}, this program reads {OLD_VERSIONS[0]} to "
            f"{SCHEMA_VERSION}; train again with this version"
        )
    return dict(document)


def _tensors(folder: Path, document: dict[str, Any]) -> Tensors:
    path = folder / WEIGHTS_FILE
    try:
        blob = read_bytes(path)
    except OSError as error:
        raise PolicyError(f"{path} cannot be read ({error.strerror}); copy it again") from None
    if hashlib.sha256(blob).hexdigest() != document[_WEIGHTS_SHA256]:
        raise ValueError(f"{WEIGHTS_FILE} is not what {METADATA_FILE} expects")
    return load(blob)


def _layout(document: dict[str, Any]) -> Layout:
    axes = tuple(Axis(a["name"], tuple(a["values"])) for a in document["axes"])
    if not 0.0 < document["max_power_w"] < float("inf"):
        raise ValueError(f"max_power_w is {document['max_power_w']!r}")
    return Layout(**{**document, "axes": axes})
