"""The frozen policy: a small network in numpy, with the observation and the actions it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.deciders.base import Decider
from agents.deciders.nominal import NominalModel
from agents.errors import PolicyError
from agents.policy import layers
from agents.policy.folder import Stored, promises_nothing, write
from agents.policy.heads import HEADS, head_of
from agents.policy.layers import Layers
from agents.policy.metadata import PolicyMetadata
from agents.policy.normaliser import MEAN, SD, Normaliser
from agents.policy.remedy import CLOCKS, other_observations, refuse_another
from agents.reach import check_reach
from common import command
from envs.governed.governing import Governing
from envs.plant import Indices, Layout, Plant
from envs.spaces import (
    ActionDecoder,
    ObservationEncoder,
    ObservationField,
    Observations,
    observation_fields,
)

NETWORK = "network"
ACTIVATIONS = ("tanh", "relu")


class FrozenPolicy:
    """Maps observations to actions; buffers are reused, so one instance serves one thread."""

    kind = NETWORK
    leaves_clocks = False

    def __init__(
        self, metadata: PolicyMetadata, weights: Layers, normaliser: Normaliser | None = None
    ) -> None:
        """Check that everything fits together.

        Args:
            metadata: everything but the numbers.
            weights: of the layers.
            normaliser: of observations before the first layer, if there is any.

        Raises:
            PolicyError: it does not.
        """
        self.metadata, self.normaliser = metadata, normaliser
        self.weights = [(np.ascontiguousarray(w), b) for w, b in weights]
        self.encoder = ObservationEncoder(metadata.fields)
        self.decoder = ActionDecoder(metadata.layout.axes)
        self._head = head_of(metadata)
        self._check_shapes()
        self._buffers = [np.empty(len(b), dtype=np.float32) for _, b in weights]
        self._activate: np.ufunc | None = np.tanh if metadata.activation == "tanh" else None

    @property
    def algorithm(self) -> str:
        """What trained it."""
        return self.metadata.algorithm

    @property
    def layout(self) -> Layout:
        """Layout of the plant that it was trained for."""
        return self.metadata.layout

    @property
    def governing(self) -> Governing | None:
        """Governors of the clocks that it leaves alone, as simulated boards have them."""
        return self.metadata.governing

    def begin(self, plant: Plant, n: int) -> None:
        """Nothing is remembered between steps."""

    def decide(self, observations: Observations) -> Indices:
        """Choose actions, shape (n, n_axes), by observations of shape (n, n_fields)."""
        if len(observations) == 1:
            return self._decide_one(observations[0])[None].copy()
        hidden = self.normaliser(observations) if self.normaliser else observations
        for layer, (weight, bias) in enumerate(self.weights):
            hidden = hidden @ weight.T + bias
            if layer < len(self.weights) - 1:
                self._bend(hidden)
        return self._head.batch(hidden)

    def _decide_one(self, observation: NDArray[np.float32]) -> Indices:
        """Choose for one board, without allocating anything where nothing is standardised."""
        hidden = self.normaliser(observation) if self.normaliser else observation
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(self.weights):
            hidden = np.dot(weight, hidden, out=self._buffers[layer])
            hidden += bias
            if layer < last:
                self._bend(hidden)
        return self._head.one(hidden)

    def decider(self, _known: Callable[[], NominalModel]) -> Decider:
        """Decide by observations alone."""
        return self

    def promising(self, promise: float) -> FrozenPolicy:
        """Refuse: the network expects nothing of its actions.

        Raises:
            PolicyError: always.
        """
        raise promises_nothing(self.algorithm)

    def check_layout(self, layout: Layout) -> None:
        """Refuse to drive anything but what the policy was trained for.

        Raises:
            PolicyError: another board, other clock tables, another model, other split points, or
                observations or actions that this version encodes otherwise.
        """
        mine = self.layout
        compared = (
            ("board", mine.board, layout.board),
            ("clock tables of the board", mine.board_fingerprint, layout.board_fingerprint),
            (CLOCKS, mine.domains, layout.domains),
            ("model", mine.model, layout.model),
            ("split points of the model", mine.cut_list_fingerprint, layout.cut_list_fingerprint),
        )
        refuse_another("the policy was trained for", compared, layout)
        if mine.axes != layout.axes or self.metadata.fields != observation_fields(layout):
            raise other_observations()

    def save(self, folder: Path) -> None:
        """Write the folder of the policy."""
        content = asdict(self.metadata)
        algorithm, _layout = content.pop("algorithm"), content.pop("layout")
        content["clip_obs"] = self.normaliser.clip if self.normaliser else None
        tensors = layers.named(self.weights)
        if self.normaliser:
            tensors |= self.normaliser.named()
        write(folder, Stored(self.kind, algorithm, self.layout, content, tensors))

    @classmethod
    def restored(cls, stored: Stored) -> FrozenPolicy:
        """Build what a folder holds.

        Raises:
            PolicyError: it masks its actions.
            KeyError, TypeError, ValueError: what it holds is nonsense, or its layers do not fit.
        """
        metadata = _metadata(stored)
        try:
            return cls(metadata, layers.from_named(stored.tensors), _normaliser(stored))
        except PolicyError as error:
            raise ValueError(str(error)) from None

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
            expected = len(bias)
        n_outputs = self._head.n_outputs
        if expected != n_outputs:
            raise PolicyError(f"the last layer has {expected} outputs, the axes {n_outputs}")
        try:
            if self.normaliser:
                self.normaliser.check(len(self.metadata.fields))
            largest = self.normaliser.clip if self.normaliser else 1.0
            check_reach(self.weights, largest, saturates=self.metadata.activation == "tanh")
        except ValueError as error:
            raise PolicyError(str(error)) from None


def _normaliser(stored: Stored) -> Normaliser | None:
    clip = stored.content["clip_obs"]
    if clip is None:
        return None
    return Normaliser(stored.tensors[MEAN], stored.tensors[SD], float(clip))


def _metadata(stored: Stored) -> PolicyMetadata:
    content = stored.content
    if content["activation"] not in ACTIVATIONS or content["head"] not in HEADS:
        raise ValueError(f"activation {content['activation']!r}, head {content['head']!r}")
    if content.get("guard_margin_c") is not None:
        raise PolicyError(
            f"the policy of {stored.algorithm} masks its actions, which this version cannot do; "
            f"train another one with {command.program('train')} --algo"
        )
    return PolicyMetadata(
        algorithm=stored.algorithm,
        layout=stored.layout,
        fields=tuple(ObservationField(**f) for f in content["fields"]),
        activation=content["activation"],
        head=content["head"],
        table=tuple(tuple(row) for row in content["table"]),
        governed=tuple(content["governed"]),
    )
