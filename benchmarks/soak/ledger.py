"""Ledger of every request's fate, and whether that is allowed."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from partition.codec.codec import Codec
from partition.errors import (
    CloudError,
    CloudUnavailableError,
    DeadlineExceededError,
    ServerBusyError,
)
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime, random_inputs

PATIENT_S = 20.0
"""A request that may take so long has to be answered: no fault lasts half of it."""
N_INPUTS = 8
_ROW = "{:<10} {:>8} {:>8} {:>6} {:>6} {:>9} {:>6} {:>10}"


@dataclass(frozen=True)
class KnownExample:
    """An input with every answer that is right: each cut rounds what it sends."""

    inputs: tuple[np.ndarray, ...]
    answers: tuple[np.ndarray, ...]

    def is_right(self, logits: np.ndarray) -> bool:
        """Whether the network says so, whole or cut somewhere."""
        return any(
            logits.shape == known.shape and np.allclose(logits, known, rtol=1e-3, atol=1e-4)
            for known in self.answers
        )


def examples(folder: ModelFolder) -> list[KnownExample]:
    """Some inputs and their answers; the first is the unsplit network's."""
    runtime, codec, found = SplitRuntime(folder), Codec(), []
    for seed in range(N_INPUTS):
        inputs = random_inputs(folder, seed=seed)
        answers = [runtime.whole(inputs)[0].copy()]
        for point in folder.split_points[:-1]:
            sent = tuple(map(codec.encode, runtime.head(point, inputs)))
            answers.append(runtime.tail(point, tuple(map(codec.decode, sent)))[0].copy())
        found.append(KnownExample(inputs, tuple(answers)))
    return found


class Ledger:
    """Takes the outcome of each request; safe for threads.

    Attributes:
        violations: what must not happen, in words, the first of each kind and how often.
        stopping_s: when the daemon was told to stop, monotonic; None before.
        last_answer_s: when an answer came last, monotonic.
        longest_silence_s: between two answers, s.
    """

    def __init__(self) -> None:
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.stopping_s: float | None = None
        self.last_answer_s = self.longest_silence_s = 0.0
        self._broken: dict[str, tuple[int, str]] = {}
        self._lock = threading.Lock()

    def answered(self, caller: str, is_right: bool) -> None:
        """An answer came."""
        with self._lock:
            now_s = time.monotonic()
            silence_s = now_s - (self.last_answer_s or now_s)
            self.longest_silence_s = max(self.longest_silence_s, silence_s)
            self.last_answer_s = now_s
            self.counts[caller]["answered"] += 1
            if not is_right:
                self._violated(caller, "wrong", "a wrong answer")

    def failed(self, caller: str, error: Exception, began_s: float, deadline_s: float) -> None:
        """No answer came."""
        now_s = time.monotonic()
        with self._lock:
            kind = "broken"
            if self.stopping_s is not None and isinstance(error, CloudError):
                kind = "stopped"  # clients that wait at the end get an error
            elif isinstance(error, ServerBusyError):
                kind = "busy"
            elif isinstance(error, DeadlineExceededError) and deadline_s < PATIENT_S:
                kind = "late"
            elif caller == "malformed" and _is_refusal(error):
                kind = "refused"
            self.counts[caller][kind] += 1
            if kind == "broken":
                words = f"{type(error).__name__}: {error}"[:200]
                self._violated(
                    caller, type(error).__name__, f"{words} after {now_s - began_s:.2f} s"
                )

    def accepted(self, caller: str) -> None:
        """Something was answered that had to be refused."""
        with self._lock:
            self._violated(caller, "accepted", "an answer to what is no input")

    def died(self, caller: str) -> None:
        """The client is gone."""
        with self._lock:
            self.counts[caller]["died"] += 1

    @property
    def violations(self) -> list[str]:
        """In words."""
        with self._lock:
            return [f"{n} x {words}" for n, words in self._broken.values()]

    @property
    def n_answered(self) -> int:
        """Requests that were answered."""
        with self._lock:
            return sum(counts["answered"] for counts in self.counts.values())

    def table(self) -> str:
        """Callers and outcomes."""
        columns = ("answered", "busy", "late", "refused", "died", "stopped", "broken")
        with self._lock:
            rows = [_ROW.format("caller", *columns)]
            for caller, counts in sorted(self.counts.items()):
                rows.append(_ROW.format(caller, *(counts[name] for name in columns)))
        return "\n".join(rows)

    def _violated(self, caller: str, kind: str, words: str) -> None:
        key = f"{caller} {kind}"
        n, first = self._broken.get(key, (0, f"{caller}: {words}"))
        self._broken[key] = n + 1, first


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, CloudError) and not isinstance(error, CloudUnavailableError)
