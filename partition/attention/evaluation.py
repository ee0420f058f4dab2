"""Accuracy of a trained cut over xi and bits, with lambda from validation; needs torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from partition.attention.modules import AttentionSplit, branch_flops, quantise
from partition.attention.select import BITS, MESSAGE_BYTES, fused, message_bytes, sent_count
from partition.attention.training import Features, Ranking, importance
from partition.codec.codec import Float32Array
from partition.data.datasets import Labels
from partition.model.accuracy_table import AccuracyRow
from partition.model.intervals import wilson
from partition.model.split_point import SplitPoint

XI_GRID = tuple(i / 10 for i in range(11))
"""DVFO's levels, as far as they are known."""
EDGE_WEIGHTS = tuple(i / 20 for i in range(21))
_BATCH = 500
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Logits:
    """Both sides' answers on a part of the data."""

    edge: Float32Array
    cloud: Float32Array
    appeal: Float32Array
    """(N,): logit of the edge's answer being right."""
    labels: Labels
    """(N,)."""


def answers(
    model: AttentionSplit,
    data: Features,
    xi: float,
    bits: int | None,
    ranking: Ranking = "attention",
    seed: int = 0,
) -> Logits:
    """Both sides' logits with `xi` of the channels sent; a fresh random order is drawn by seed."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(data), _BATCH):
            x = data.tensor[start : start + _BATCH].float()
            n_sent = torch.full((len(x),), sent_count(xi, model.shape[0]))
            order_by = importance(x, ranking, generator, seed)
            answer = model(x, n_sent, bits, order_by)
            parts.append((answer.edge, answer.cloud, answer.appeal))
    edge, cloud, appeal = (torch.cat(side).numpy() for side in zip(*parts, strict=True))
    return Logits(edge, cloud, appeal, data.labels.numpy())


def choose_edge_weight(logits: Logits, xi: float) -> float:
    """Find the lambda with the most right answers; of equal ones the nearest to 1 - xi.

    At the ends only one side has seen anything, so nothing is chosen there.
    """
    if xi in (0.0, 1.0):
        return 1.0 - xi
    hits = {weight: int(right(logits, weight).sum()) for weight in EDGE_WEIGHTS}
    return max(EDGE_WEIGHTS, key=lambda weight: (hits[weight], -abs(weight - (1 - xi))))


def right(logits: Logits, edge_weight: float) -> BoolArray:
    """Which images the fused answer classifies correctly."""
    answer = fused(logits.edge, logits.cloud, edge_weight)
    hits: BoolArray = answer.argmax(1) == logits.labels
    return hits


def rows_of(
    model: AttentionSplit, point: SplitPoint, validation: Features, test: Features
) -> list[AccuracyRow]:
    """One row per xi and bits of a cut with attention."""
    channels = model.shape[0]
    light = branch_flops(model.shape, model.width, model.classes, model.stride)
    rows = []
    for xi in XI_GRID:
        n_sent = sent_count(xi, channels)
        # with everything sent the edge need not answer
        flops = (
            (point.head.flops + (light if n_sent < channels else 0)),
            (point.tail.flops if n_sent else 0),
        )
        for bits in BITS:
            if n_sent or bits == BITS[0]:  # bits do not matter where nothing is sent
                chosen = answers(model, validation, xi, bits)
                weight = choose_edge_weight(chosen, xi)
                hits = right(answers(model, test, xi, bits), weight)
            rows.append(_row(point, (xi, bits, weight), right(chosen, weight), hits, flops))
    return rows


def classic_rows(
    tail: nn.Module, point: SplitPoint, validation: Features, test: Features
) -> list[AccuracyRow]:
    """Rows of a split point without attention: xi = 1 and the tail as it was, at the ends exact.

    The input is sent as the 8-bit pixels it came in, so nothing is lost.
    """
    flops = point.head.flops, point.tail.flops
    if point.is_output or point.is_input:
        choice = (0.0, 8, 1.0) if point.is_output else (1.0, 8, 0.0)
        return [_row(point, choice, validation.hits(), test.hits(), flops)]
    rows = []
    for bits in BITS:
        on_validation, on_test = _hits(tail, validation, bits), _hits(tail, test, bits)
        rows.append(_row(point, (1.0, bits, 0.0), on_validation, on_test, flops))
    return rows


def _hits(tail: nn.Module, data: Features, bits: int) -> BoolArray:
    hits = []
    with torch.inference_mode():
        for start in range(0, len(data), _BATCH):
            x = data.tensor[start : start + _BATCH].float()
            logits = tail(quantise(x, torch.ones(x.shape[:2]), bits))
            hits.append(logits.argmax(1) == data.labels[start : start + _BATCH])
    found: BoolArray = torch.cat(hits).numpy()
    return found


def _row(
    point: SplitPoint,
    choice: tuple[float, int, float],
    validation_hits: BoolArray,
    hits: BoolArray,
    flops: tuple[int, int],
) -> AccuracyRow:
    xi, bits, weight = choice
    _, channels, *places = point.shapes[0]
    n_sent = sent_count(xi, channels)
    low, high = wilson(int(hits.sum()), len(hits))
    return AccuracyRow(
        split=point.name,
        xi=xi,
        bits=bits,
        accuracy=float(hits.mean()),
        low=low,
        high=high,
        validation_accuracy=float(validation_hits.mean()),
        edge_weight=weight,
        channels=channels,
        sent_channels=n_sent,
        wire_bytes=(
            math.prod(point.shapes[0]) + MESSAGE_BYTES
            if point.is_input
            else message_bytes(n_sent, channels, math.prod(places), bits)
        ),
        float32_bytes=point.float32_bytes,
        edge_flops=flops[0],
        cloud_flops=flops[1],
    )
