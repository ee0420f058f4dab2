"""ONNX runtime of a trained cut: choose channels, answer on the edge, fuse. No torch."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from partition.attention.select import BoolArray, fused, kept_channels, quantised, sent_count
from partition.codec.codec import Float32Array
from partition.errors import ModelFolderError, ModelRunError
from partition.model.attention_files import BRANCH_FILE, SCORES_FILE, TAIL_FILE, folder_of
from partition.model.graph_file import read_graph
from partition.model.split_point import SplitPoint
from partition.providers.execution import Execution
from partition.providers.session import RUNTIME_ERRORS, place_session


@dataclass(frozen=True, slots=True)
class EdgeAnswer:
    """What the edge knows before anything is sent."""

    logits: Float32Array
    """(1, classes), of the light branch."""
    trust: float
    """Logit of this answer being right; below a threshold, appeal to the cloud."""
    kept: BoolArray
    """(C,): channels that stay; the others are to be sent."""
    scores: Float32Array
    """(C,): importance of every channel."""


class AttentionRuntime:
    """Both sides of one cut with attention; each session is made on first use.

    Args:
        folder: the model folder.
        point: one of its split points for which `partition.train_attention` was run.
        threads: per inference.
        execution: where they run; None takes the best providers that work here.

    Raises:
        ModelFolderError: this cut was not trained, or its files do not load.
    """

    def __init__(
        self,
        folder: Path,
        point: SplitPoint,
        threads: int = 1,
        execution: Execution | None = None,
    ) -> None:
        self._folder = folder_of(folder, point.name)
        self._channels = point.shapes[0][1]
        self._threads = threads
        self._execution = execution or Execution.choose()
        self._lock = threading.Lock()
        self._sessions: dict[str, ort.InferenceSession] = {}
        if not (self._folder / SCORES_FILE).is_file():
            raise ModelFolderError(
                f"{self._folder} holds no attention for split point {point.name!r}: "
                "run python -m partition.train_attention"
            )

    def edge(self, cut_tensor: Float32Array, xi: float) -> EdgeAnswer:
        """Choose what stays of (1, C, H, W) and answer from it.

        Raises:
            ValueError: xi is not within 0..1.
        """
        (scores,) = self._run(SCORES_FILE, cut_tensor)
        kept = kept_channels(scores, sent_count(xi, self._channels))
        logits, trust = self._run(BRANCH_FILE, cut_tensor, scores, kept.astype(np.float32))
        return EdgeAnswer(logits, float(trust[0]), kept[0], scores[0])

    def alone(self, cut_tensor: Float32Array, scores: Float32Array) -> Float32Array:
        """Logits (1, classes) of the light branch on all channels, as at xi = 0.

        Args:
            cut_tensor: (1, C, H, W).
            scores: (C,), of `edge`.
        """
        everything = np.ones((1, self._channels), np.float32)
        return self._run(BRANCH_FILE, cut_tensor, scores[None], everything)[0]

    def tail(self, cut_tensors: Float32Array) -> Float32Array:
        """Logits (N, classes) of the tail on (N, C, H, W), in which the kept channels are zero."""
        return self._run(TAIL_FILE, cut_tensors)[0]

    def both(
        self, cut_tensor: Float32Array, xi: float, bits: int, edge_weight: float
    ) -> Float32Array:
        """The fused logits, both sides on this machine: to check or to measure accuracy."""
        edge = self.edge(cut_tensor, xi)
        if edge.kept.all():
            return edge.logits
        sent = np.zeros_like(cut_tensor)
        sent[0, ~edge.kept] = quantised(cut_tensor[0, ~edge.kept], bits)
        return fused(edge.logits, self.tail(sent), edge_weight)

    def _run(self, name: str, *tensors: Float32Array) -> list[Float32Array]:
        session = self._sessions.get(name) or self._loaded(name)
        names = [value.name for value in session.get_inputs()]
        try:
            answers: list[Float32Array] = session.run(None, dict(zip(names, tensors, strict=True)))
        except RUNTIME_ERRORS as error:
            raise ModelRunError(f"{self._folder / name} does not run: {error}") from error
        return answers

    def _loaded(self, name: str) -> ort.InferenceSession:
        with self._lock:
            if name not in self._sessions:
                self._sessions[name] = self._load(self._folder / name)
            return self._sessions[name]

    def _load(self, path: Path) -> ort.InferenceSession:
        try:
            graph = read_graph(path)
            fingerprint = hashlib.sha256(graph.SerializeToString()).hexdigest()[:16]
            placed = place_session(graph, None, self._threads, self._execution, fingerprint)
        except RUNTIME_ERRORS as error:
            raise ModelFolderError(
                f"{path} does not load ({error}): run python -m partition.train_attention again"
            ) from error
        return placed.session
