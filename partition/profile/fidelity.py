"""Fidelity of each split point: what is left of the answer when its tensors cross in few bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.progress import Progress
from partition.codec import quantisers
from partition.codec.codec import Codec
from partition.codec.encoded import is_feature_map
from partition.errors import WireError
from partition.model.folder import ModelFolder
from partition.model.intervals import wilson
from partition.model.runtime import SplitRuntime
from partition.profile.kind import Kind, detect
from partition.profile.measures import Array, Counts, Measure, Outputs, of_name

_MAX_OUTPUT_BYTES = 2 * 10**8
"""Of the unsplit network's answers, which are held; with more, fewer inputs are judged."""

Values = dict[str, dict[str, float] | None]
"""By name of the codec: `value`, and where it is a share `low` and `high`; None: unknown."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How faithful each split point is."""

    kind: Kind | None
    """None where there were no real inputs to judge by; with a kind and nothing known, they showed
    too little of what is measured, a detector no objects for instance."""
    n_samples: int
    points: tuple[Values, ...]
    """By split point."""
    codec_errors: tuple[float, ...]
    """RMS error of the default codec by split point, the mean over the samples: relative to the
    standard deviation of the tensor, the worst one of those that cross."""

    @property
    def is_known(self) -> bool:
        """Whether anything could be said."""
        return any(value is not None for values in self.points for value in values.values())


def unknown(
    folder: ModelFolder,
    runtime: SplitRuntime,
    samples: Sequence[tuple[Array, ...]],
    kind: Kind | None = None,
) -> Judgement:
    """What is said of a network whose inputs tell nothing: the error of the codec on them.

    Args:
        folder: the network.
        runtime: that runs it.
        samples: inputs of any origin.
        kind: of the outputs, if there were real inputs.
    """
    codec, errors, cut_points = Codec(), [], folder.split_points[:-1]
    with Progress("measuring the codec", len(cut_points)) as progress:
        for point in progress.each(cut_points):
            heads = (runtime.head(point, inputs) for inputs in samples)
            errors.append(float(np.mean([_error(crossed(codec, head), head) for head in heads])))
            runtime.release()
    nothing: Values = {each.name: None for each in quantisers.QUANTISERS}
    points = tuple(nothing for _ in folder.split_points)
    return Judgement(kind, len(samples), points, (*errors, 0.0))


def judge(
    folder: ModelFolder,
    runtime: SplitRuntime,
    samples: Sequence[tuple[Array, ...]],
    picture: tuple[int, int] | None,
    name: str | None = None,
) -> Judgement:
    """Compare the answers that come from each decoded cut with those of the unsplit network.

    Args:
        folder: the network.
        runtime: that runs it.
        samples: real inputs, at least one.
        picture: height and width of the input in pixels; None where it is no picture.
        name: of the measure; None takes what suits the outputs.

    Raises:
        MeasureError: there is no such measure, or it does not fit the outputs.
    """
    samples, answers = _answers(runtime, samples)
    kind = detect(answers, picture) if name is None else Kind(of_name(name), "as given")
    measure, size = kind.measure, picture or (0, 0)
    same = sum((measure.counts(answer, answer, size) for answer in answers), np.zeros((1, 2)))
    if same[:, 1].sum() < measure.min_count:
        return unknown(folder, runtime, samples, kind)
    points: list[Values] = []
    errors: list[float] = []
    cut_points = folder.split_points[:-1]
    with Progress("comparing answers", len(cut_points)) as progress:
        for point in progress.each(cut_points):
            sums = dict.fromkeys((each.name for each in quantisers.QUANTISERS), np.zeros((1, 2)))
            error = 0.0
            for inputs, answer in zip(samples, answers, strict=True):
                tensors = runtime.head(point, inputs)
                for each in quantisers.QUANTISERS:
                    received = crossed(Codec(each.bits), tensors)
                    outputs = runtime.tail(point, received)
                    sums[each.name] = sums[each.name] + measure.counts(answer, outputs, size)
                    error += _error(received, tensors) if each is quantisers.DEFAULT else 0.0
            points.append({key: _value(measure, sums[key], len(samples)) for key in sums})
            errors.append(error / len(samples))
            runtime.release()  # the next point needs another head and tail
    exact: Values = {
        each.name: _value(measure, same, len(samples)) for each in quantisers.QUANTISERS
    }
    return Judgement(kind, len(samples), (*points, exact), (*errors, 0.0))


def crossed(codec: Codec, tensors: Outputs) -> Outputs:
    """The tensors of a cut as the other side sees them.

    What the codec does not take crosses as it is, and so does one with values that it cannot hold,
    -inf in a mask for one. Where that is too long for a message the request is finished where it
    is, which changes nothing either.
    """
    return tuple(_crossed(codec, tensor) for tensor in tensors)


def _crossed(codec: Codec, tensor: Array) -> Array:
    if not is_feature_map(tensor.shape, tensor.dtype):
        return tensor
    try:
        return codec.decode(codec.encode(tensor))
    except WireError:
        return tensor


def _answers(
    runtime: SplitRuntime, samples: Sequence[tuple[Array, ...]]
) -> tuple[list[tuple[Array, ...]], list[Outputs]]:
    """The unsplit network's, with the inputs that they belong to."""
    first = runtime.whole(samples[0])
    n_most = max(_MAX_OUTPUT_BYTES // max(sum(output.nbytes for output in first), 1), 1)
    which = np.unique(np.linspace(0, len(samples) - 1, min(n_most, len(samples))).astype(int))
    chosen = [samples[i] for i in which]
    return chosen, [runtime.whole(inputs) for inputs in chosen]


def _value(measure: Measure, counts: Counts, n_samples: int) -> dict[str, float]:
    counts = counts[counts[:, 1] > 0]
    value = {"value": measure.value(counts)}
    if measure.is_share and counts[0, 1] == n_samples:
        value["low"], value["high"] = wilson(round(counts[0, 0]), n_samples)
    return value


def _error(received: Outputs, sent: Outputs) -> float:
    """RMS error of the tensor that is worst off, relative to its standard deviation."""
    return max(map(_relative_error, received, sent))


def _relative_error(received: Array, sent: Array) -> float:
    if received is sent or sent.dtype.kind != "f" or not sent.size:
        return 0.0
    # Squares of float16 soon are 0 or infinite, of float32 at 1e-23 and 1e19.
    one, other = received.astype(np.float64), sent.astype(np.float64)
    spread = float(other.std())
    return float(np.sqrt(np.mean((one - other) ** 2))) / spread if spread else 0.0
