"""What an input takes on the wire: pixels as they are, as JPEG, or a file that is JPEG already."""

from __future__ import annotations

import io
import statistics
import time
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from PIL import Image, ImageOps

from envs.sim.sim_config import SimConfig
from partition.data.images import load_pictures
from partition.data.pictures import PictureFormat

QUALITY = 95
HOST_HZ = 2.4e9
"""Clock of the processor that encoding was timed on, to count cycles; about, and an x86's."""
ROUNDS = 5
HEADER_BYTES = 64
"""Of a message and its one tensor."""
AS_IT_IS, ENCODED, FILE = "8 bits a value", "JPEG, encoded here", "JPEG file already"


@dataclass(frozen=True, slots=True)
class JpegCost:
    """What a picture takes as JPEG, medians over real pictures.

    Attributes:
        n_bytes: of the file.
        cycles: of the processor that encodes it.
    """

    n_bytes: int
    cycles: float


@cache
def jpeg_cost(pixels: int) -> JpegCost:
    """Encode the photographs that scikit-image installs, cropped and resized.

    Args:
        pixels: side of the square picture.
    """
    form = PictureFormat(pixels, pixels, 3, False, "float32", (0.0,) * 3, (1.0,) * 3)
    sizes, seconds = [], []
    for picture in load_pictures(None, form):
        small = ImageOps.fit(picture.image, (pixels, pixels), Image.Resampling.BICUBIC)
        for _ in range(ROUNDS):
            packed, began_s = io.BytesIO(), time.process_time()
            small.save(packed, "JPEG", quality=QUALITY)
            seconds.append(time.process_time() - began_s)
        sizes.append(packed.tell())
    return JpegCost(int(statistics.median(sizes)), statistics.median(seconds) * HOST_HZ)


def with_input(world: SimConfig, kind: str, pixels: int | None) -> SimConfig:
    """The world whose input route sends this.

    Args:
        world: with the input in 8 bits a value.
        kind: one of the three.
        pixels: side of the picture; None where the input is none.
    """
    if kind == AS_IT_IS or pixels is None:
        return world
    jpeg, costs = jpeg_cost(pixels), world.costs
    wire_bytes, cycles = costs.wire_bytes.copy(), np.array(costs.head.cpu_cycles, dtype=np.float64)
    wire_bytes[0] = jpeg.n_bytes + HEADER_BYTES
    cycles[0] += jpeg.cycles if kind == ENCODED else 0.0
    head = replace(costs.head, cpu_cycles=cycles)
    return replace(world, costs=replace(costs, head=head, wire_bytes=wire_bytes))
