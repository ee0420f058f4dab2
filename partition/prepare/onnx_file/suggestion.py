"""A shape that a network runs with, to be proposed where its file leaves one open."""

from __future__ import annotations

import contextlib

import onnx
import onnxruntime as ort

from partition.prepare import bounded
from partition.prepare.onnx_file.choices import FREE, Shape
from partition.prepare.onnx_file.inputs import has_free_batch, open_inputs
from partition.prepare.samples import made_up_input
from partition.providers.session import RUNTIME_ERRORS, make_session

_CHANNELS = (1, 3, 4)
_IMAGE_RANK = 4
_PICTURES = ((640, 640), (320, 320), (224, 224), (48, 320), (48, 192), (64, 64))
"""Height and width of pictures for detectors, small ones, classifiers, lines of text, faces."""
_LENGTHS = (512, 128, 576, 16_000, 76, 16)
"""Of texts and windows of speech, short texts, a second of speech, windows of features."""


def plausible_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Shapes for the inputs that leave one open: the first candidate that runs, else the first."""
    candidates = [_sized(model.graph, *sizes) for sizes in zip(_PICTURES, _LENGTHS, strict=True)]
    chosen = candidates[0]
    with contextlib.suppress(*RUNTIME_ERRORS):  # said once the shapes are known
        session = make_session(model)
        chosen = next((c for c in candidates if _runs(session, c)), chosen)
    is_free = has_free_batch(model.graph)
    wanted = {value.name for value in open_inputs(model.graph)}
    shapes = {}
    for value in chosen:
        if value.name in wanted:
            sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim] or [1]
            shapes[value.name] = (FREE, *sizes[1:]) if is_free else tuple(sizes)
    return shapes


def _runs(session: ort.InferenceSession, candidate: list[onnx.ValueInfoProto]) -> bool:
    try:
        bounded.run(session, None, {v.name: made_up_input(v) for v in candidate})
    except RUNTIME_ERRORS:
        return False
    return True


def _sized(
    graph: onnx.GraphProto, picture: tuple[int, int], length: int
) -> list[onnx.ValueInfoProto]:
    """The inputs with a size in the place of every open one."""
    first = [value.type.tensor_type.shape.dim[:1] for value in graph.input]
    batches = {dims[0].dim_param for dims in first if dims and dims[0].dim_param}
    sized = []
    for original in graph.input:
        value = onnx.ValueInfoProto()
        value.CopyFrom(original)
        dims = value.type.tensor_type.shape.dim
        places = [i for i, dim in enumerate(dims) if not dim.HasField("dim_value")]
        # Where the first dimension is something else, as layers, the batch comes later.
        batch = places[0] if places and (places[0] == 0 or dims[0].dim_value != 1) else None
        is_picture = len(dims) == _IMAGE_RANK and any(
            dims[i].dim_value in _CHANNELS for i in (1, 3)
        )
        places_of_sides = (1, 2) if dims and dims[-1].dim_value in _CHANNELS else (2, 3)
        sides = dict(zip(places_of_sides, picture, strict=True))
        for i in places:
            if i == batch or dims[i].dim_param in batches:
                dims[i].dim_value = 1
            else:
                dims[i].dim_value = sides.get(i, length) if is_picture else length
        sized.append(value)
    return sized
