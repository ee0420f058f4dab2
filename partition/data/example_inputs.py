"""Inputs that a deployed network is fed with: pictures, sound, or arrays from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from partition.data import datasets
from partition.data.array_files import Sample
from partition.data.datasets import FASHION_MNIST
from partition.data.images import Picture, load_photographs, load_pictures
from partition.data.pictures import PictureFormat
from partition.data.real_inputs import FILES, array_samples, picture_format
from partition.errors import ImageError
from partition.model.folder import ModelFolder

N_PICTURES = 64
_GREY_MEAN, _GREY_STD = 72.94, 90.02
"""Of Fashion-MNIST's training pixels, 0..255; who trained a grey network with others feeds it."""


def example_inputs(folder: ModelFolder, source: Path | None = None) -> list[Sample]:
    """Inputs for one sample each, preprocessed.

    Args:
        folder: the model.
        source: a folder of photographs, an `.npy`, `.npz` or `.wav` file of inputs or a folder of
            those, or `fashion-mnist`. None takes Fashion-MNIST where the network's accuracy was
            measured on it or it takes small grey pictures, otherwise the photographs that
            scikit-image installs.

    Raises:
        ImageError: the network takes no such pictures, or there are none.
        SampleError: a file of inputs cannot be read or does not fit.
        DatasetError: Fashion-MNIST is wanted and not installed.
    """
    ready = _ready(folder, source)
    if ready is not None:
        return ready
    return [(p.tensor,) for p in load_photographs(source, _format(folder))]


def camera_inputs(folder: ModelFolder, source: Path | None = None) -> list[Sample] | list[Picture]:
    """The same, but photographs are still to be prepared, each for the request that takes it.

    Arguments and errors as of `example_inputs`.
    """
    ready = _ready(folder, source)
    return load_pictures(source, _format(folder)) if ready is None else ready


def _ready(folder: ModelFolder, source: Path | None) -> list[Sample] | None:
    """Inputs that are no photographs; None where those are wanted."""
    of_fashion = folder.attention is not None and folder.attention.table.data == FASHION_MNIST
    by_itself = source is None and (of_fashion or _takes_grey(folder))
    if by_itself or str(source) == FASHION_MNIST:
        return _fashion_pictures(folder)
    if source is not None and (arrays := array_samples(folder, source)):
        return arrays
    return None


def _format(folder: ModelFolder) -> PictureFormat:
    """How the network takes photographs."""
    form = picture_format(folder)
    if form is None:
        raise ImageError(
            f"model {folder.name} takes no photographs: give a file of its inputs "
            f"({', '.join(FILES)}) as --source"
        )
    return form


def _takes_grey(folder: ModelFolder) -> bool:
    return len(folder.inputs) == 1 and folder.input_shape in ((1, 1, 28, 28), (1, 1, 32, 32))


def _fashion_pictures(folder: ModelFolder) -> list[Sample]:
    images = datasets.load_fashion_mnist_test().first(N_PICTURES).images
    prepared = folder.preprocess
    if _takes_grey(folder):
        edge = (images.shape[2] - folder.input_shape[2]) // 2  # drop the padding again
        grey = images[:, :1, edge : images.shape[2] - edge, edge : images.shape[3] - edge]
        pictures = (grey.astype(np.float32) - np.float32(_GREY_MEAN)) / np.float32(_GREY_STD)
    elif prepared is not None and prepared.size == images.shape[2]:
        pictures = datasets.preprocess(images, prepared.mean, prepared.std)
    else:
        raise ImageError(f"model {folder.name} takes no pictures of 32 x 32 pixels")
    return [(pictures[i : i + 1],) for i in range(len(pictures))]
