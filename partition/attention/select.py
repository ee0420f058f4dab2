"""Selection of channels: those sent, what is left of them after quantisation, and their bytes."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from partition.codec import quantisers
from partition.codec.codec import Codec, Float32Array
from partition.codec.encoded import encoded_bytes

BITS = quantisers.all_bits()
MESSAGE_BYTES = 64
"""Headers around one tensor in `partition.transport.wire`."""
CHANNEL_BYTES = 2
"""Index of a channel that is sent."""
MIN_VALUES_PER_RANGE = 32
"""Channels below this share one range: ranges of their own would cost more than they save."""

BoolArray = npt.NDArray[np.bool_]


def sent_count(xi: float, channels: int) -> int:
    """How many of `channels` a share `xi` sends: rounded, a half upwards.

    Raises:
        ValueError: `xi` is not within 0..1.
    """
    if not 0 <= xi <= 1:
        raise ValueError(f"xi is {xi}: give a share from 0 to 1")
    return math.floor(xi * channels + 0.5)


def kept_channels(scores: Float32Array, n_sent: int) -> BoolArray:
    """Mask (N, C) of the channels that stay: the highest scores of each row.

    Of equal scores the channel with the lower index stays.

    Args:
        scores: (N, C).
        n_sent: how many to send, 0..C.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    kept = np.zeros(scores.shape, np.bool_)
    np.put_along_axis(kept, order[:, : scores.shape[1] - n_sent], values=True, axis=1)
    return kept


def has_own_range(values_per_channel: int) -> bool:
    """Whether every channel is quantised within its own range."""
    return values_per_channel >= MIN_VALUES_PER_RANGE


def quantised(channels: Float32Array, bits: int) -> Float32Array:
    """What the cloud reads of the sent channels (n, H, W) of one input, as float32."""
    if channels.size == 0:
        return channels
    codec = Codec(bits)
    restored: Float32Array = codec.decode(codec.encode(channels[None]))[0]
    return restored


def message_bytes(n_sent: int, channels: int, values_per_channel: int, bits: int) -> int:
    """Bytes on the wire for one input, as `partition.transport.wire` packs it.

    That is headers, ranges, which channels (unless all), values. Sending nothing costs nothing.
    """
    if n_sent == 0:
        return 0
    values = encoded_bytes((1, n_sent, values_per_channel), bits)
    choice = 0 if n_sent == channels else n_sent * CHANNEL_BYTES
    return MESSAGE_BYTES + _aligned(choice) + _aligned(values)


def _aligned(n_bytes: int) -> int:
    return math.ceil(n_bytes / 8) * 8


def fused(edge: Float32Array, cloud: Float32Array, edge_weight: float) -> Float32Array:
    """`lambda * edge + (1 - lambda) * cloud`, of logits."""
    weight = np.float32(edge_weight)
    answer: Float32Array = weight * edge + (1 - weight) * cloud
    return answer
