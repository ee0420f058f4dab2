"""The frozen policy: a small network in numpy, loaded from a folder that holds no code.

A folder has two files: `policy.json` (schema version, layout of the plant it was trained for,
observation fields with their bounds, action axes with their values) and `weights.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from agents.errors import PolicyError
from agents.policy import checksum
from agents.policy.heads import BoxHead, CategoricalHead, Head, TableHead
from agents.policy.remedy import CLOCKS, RETRAIN, shown, train_for
from agents.policy.thermal_mask import ThermalActionMask
from agents.reach import check_reach
from envs.errors import ActionError
from envs.plant import Axis, Indices, Layout
from envs.spaces import ActionDecoder, ObservationEncoder, ObservationField, observation_fields
from partition import json_file

SCHEMA_VERSION = 3
WITHOUT_CHECKSUM = 2
"""The version before `policy.json` had a checksum of its own, which is read, too."""
METADATA_FILE = "policy.json"
WEIGHTS_FILE = "weights.safetensors"
ACTIVATIONS = ("tanh", "relu")
HEADS = ("categorical", "box", "table")

Weights = list[tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class PolicyMetadata:
    """Everything about a policy but its weights.

    Attributes:
        algorithm: that trained it.
        layout: of the plant it was trained for.
        fields: of its observation.
        activation: between layers.
        head: "categorical" (one block of scores per axis), "box" (one number per axis) or "table"
            (one score per listed action).
        table: the listed actions as indices, for that head only.
        guard_margin_c: no clock is raised once the board is so near its throttling temperature;
            None raises them always.
        governed: clocks that are left to the kernel's governors, below what the action says.
    """

    algorithm: str
    layout: Layout
    fields: tuple[ObservationField, ...]
    activation: str
    head: str
    table: tuple[tuple[int, ...], ...] = ()
    guard_margin_c: float | None = None
    governed: tuple[str, ...] = ()


class FrozenPolicy:
    """Maps one observation to one action; buffers are reused, so one instance serves one thread."""

    def __init__(self, metadata: PolicyMetadata, weights: Weights) -> None:
        """Check that the layers fit together.

        Raises:
            PolicyError: they do not.
        """
        self.metadata = metadata
        self.weights = [(np.ascontiguousarray(w), b) for w, b in weights]
        self.encoder = ObservationEncoder(metadata.fields)
        self.decoder = ActionDecoder(metadata.layout.axes)
        self._head = self._build_head()
        self._check_shapes()
        self._buffers = [np.empty(len(b), dtype=np.float32) for _, b in weights]
        self._activate: np.ufunc | None = np.tanh if metadata.activation == "tanh" else None

    def decide(self, observation: NDArray[np.float32]) -> Indices:
        """Choose the action of one observation, shape (n_fields,).

        Returns:
            Indices, shape (n_axes,), valid until the next call.
        """
        hidden = observation
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(self.weights):
            hidden = np.dot(weight, hidden, out=self._buffers[layer])
            hidden += bias
            if layer < last:
                self._bend(hidden)
        return self._head.one(hidden, observation)

    def decide_batch(self, observations: NDArray[np.float32]) -> Indices:
        """Choose the actions of many observations, shape (n, n_fields), result (n, n_axes)."""
        hidden = observations
        for layer, (weight, bias) in enumerate(self.weights):
            hidden = hidden @ weight.T + bias
            if layer < len(self.weights) - 1:
                self._bend(hidden)
        return self._head.batch(hidden, observations)

    def check_layout(self, layout: Layout) -> None:
        """Refuse to drive anything but what the policy was trained for.

        Raises:
            PolicyError: another board, other clock tables, another model, other split points, or
                observations or actions that this version encodes otherwise.
        """
        mine = self.metadata.layout
        for what, trained, found in (
            ("board", mine.board, layout.board),
            ("clock tables of the board", mine.board_fingerprint, layout.board_fingerprint),
            (CLOCKS, mine.domains, layout.domains),
            ("model", mine.model, layout.model),
            ("split points of the model", mine.cut_list_fingerprint, layout.cut_list_fingerprint),
        ):
            if trained != found:
                remedy = train_for(layout) if what == CLOCKS else RETRAIN
                raise PolicyError(
                    f"the policy was trained for another {what} ({shown(trained)}, here "
                    f"{shown(found)}); {remedy}"
                )
        if mine.axes != layout.axes or self.metadata.fields != observation_fields(layout):
            raise PolicyError(
                "the policy was trained on other observations or actions than this version has; "
                "train one with train.py"
            )

    def save(self, folder: Path) -> None:
        """Write both files; `policy.json` last, so that a folder with it is complete."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {}
        for layer, (weight, bias) in enumerate(self.weights):
            tensors[f"{layer}.weight"], tensors[f"{layer}.bias"] = weight, bias
        blob = save(tensors)
        (folder / WEIGHTS_FILE).write_bytes(blob)
        document = {
            "schema_version": SCHEMA_VERSION,
            "weights_sha256": hashlib.sha256(blob).hexdigest(),
            **asdict(self.metadata),
        }
        text = json.dumps(checksum.sealed(document), indent=1, allow_nan=False)
        (folder / METADATA_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FrozenPolicy:
        """Read a policy folder.

        Raises:
            PolicyError: missing, half-written, damaged, or of another schema version.
        """
        document = _read_document(folder)
        path = folder / WEIGHTS_FILE
        try:
            if document["schema_version"] != WITHOUT_CHECKSUM:
                checksum.check(document)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest != document.get("weights_sha256"):
                raise ValueError(f"{WEIGHTS_FILE} is not what {METADATA_FILE} expects")
            tensors = load_file(path)
            layers = range(len(tensors) // 2)
            weights = [(tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]) for layer in layers]
            return cls(_metadata(document), weights)
        except OSError as error:
            raise PolicyError(f"{path} cannot be read ({error.strerror}); copy it again") from None
        except (PolicyError, SafetensorError, OverflowError, KeyError, TypeError, ValueError) as e:
            raise PolicyError(f"{folder} is damaged ({e!r}); copy or train it again") from None

    def _build_head(self) -> Head:
        """Build what turns outputs into actions.

        Raises:
            PolicyError: a listed action is outside the axes.
        """
        meta = self.metadata
        if meta.head == "box":
            return BoxHead(self.decoder)
        if meta.head == "categorical":
            margin_c = meta.guard_margin_c
            axes = meta.layout.axes
            guard = None if margin_c is None else ThermalActionMask(axes, meta.fields, margin_c)
            return CategoricalHead(self.decoder.sizes, guard)
        try:
            return TableHead(self.decoder.from_indices(np.array(meta.table, dtype=np.int64)))
        except ActionError as error:
            raise PolicyError(f"the table of actions is damaged: {error}") from None

    def _bend(self, values: NDArray[np.float32]) -> None:
        if self._activate is None:
            np.maximum(values, 0.0, out=values)
        else:
            self._activate(values, out=values)

    def _check_shapes(self) -> None:
        expected = len(self.metadata.fields)
        for weight, bias in self.weights:
            if bias.ndim != 1 or weight.shape != (len(bias), expected):
                raise PolicyError(f"a layer has shape {weight.shape}, expected (.., {expected})")
            if weight.dtype != np.float32 or bias.dtype != np.float32:
                raise PolicyError(f"a layer is {weight.dtype} and {bias.dtype}, expected float32")
            expected = len(bias)
        n_outputs = self._head.n_outputs
        if expected != n_outputs:
            raise PolicyError(f"the last layer has {expected} outputs, the axes {n_outputs}")
        try:
            check_reach(self.weights, 1.0, saturates=self.metadata.activation == "tanh")
        except ValueError as error:
            raise PolicyError(str(error)) from None


def _read_document(folder: Path) -> dict[str, Any]:
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
    if version not in (WITHOUT_CHECKSUM, SCHEMA_VERSION):
        raise PolicyError(
            f"{path} has schema version {version!r}, this program reads {WITHOUT_CHECKSUM} and "
            f"{SCHEMA_VERSION}; train again with this version"
        )
    return dict(document)


def _metadata(document: dict[str, Any]) -> PolicyMetadata:
    if document["activation"] not in ACTIVATIONS or document["head"] not in HEADS:
        raise ValueError(f"activation {document['activation']!r}, head {document['head']!r}")
    layout = dict(document["layout"])
    axes: Sequence[dict[str, Any]] = layout.pop("axes")
    if not 0.0 < layout["max_power_w"] < math.inf:
        raise ValueError(f"max_power_w is {layout['max_power_w']!r}")
    return PolicyMetadata(
        algorithm=document["algorithm"],
        layout=Layout(axes=tuple(Axis(a["name"], tuple(a["values"])) for a in axes), **layout),
        fields=tuple(ObservationField(**f) for f in document["fields"]),
        activation=document["activation"],
        head=document["head"],
        table=tuple(tuple(row) for row in document["table"]),
        guard_margin_c=document["guard_margin_c"],
        governed=tuple(document["governed"]),
    )
