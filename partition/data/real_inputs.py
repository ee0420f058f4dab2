"""Real inputs of a network: photographs, sound, or arrays from files; never noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from partition.data import array_files
from partition.data.array_files import Sample, read_samples
from partition.data.image_file import SUFFIXES
from partition.data.images import load_crops
from partition.data.pictures import SCALES, PictureFormat
from partition.data.sound_file import SUFFIX, read_sound
from partition.errors import SampleError
from partition.model.folder import ModelFolder

FILES = (*array_files.SUFFIXES, SUFFIX)
"""Endings of files that are no pictures."""
_MAX_SAMPLES = 1000
"""Of files with more, the first ones are taken."""


@dataclass(frozen=True, slots=True)
class RealInputs:
    """Samples of what a network is made for."""

    samples: list[Sample]
    """At least one."""
    origin: str
    """What they are, in words."""
    picture: PictureFormat | None
    """How pictures became inputs; None for others."""


def real_inputs(
    folder: ModelFolder, source: Path | None, scale: str | None, n_least: int
) -> RealInputs | None:
    """Inputs from a source, or where there is none from scikit-image's photographs.

    Args:
        folder: the network.
        source: a folder of pictures, or an `.npy`, `.npz` or `.wav` file as `read_samples` and
            `read_sound` take it, or a folder of those. None takes photographs for a network of RGB
            pictures.
        scale: of pixels, one of `SCALES`; None takes the folder's preprocessing, or what
            `PictureFormat.of_input` assumes.
        n_least: crops of photographs to make at least.

    Returns:
        None where there is no source and the network takes no RGB pictures.

    Raises:
        ImageError: there are no photographs, or one cannot be decoded.
        SampleError: the source holds nothing that the network takes.
    """
    if source is not None and (arrays := array_samples(folder, source)):
        return RealInputs(arrays, f"{len(arrays)} inputs from {source}", None)
    form = picture_format(folder, scale)
    if source is None and (form is None or form.channels != 3):
        return None
    if form is None:
        raise SampleError(
            f"model {folder.name} takes no single picture, so {source} cannot be its --source: "
            f"give a file of its inputs ({', '.join(FILES)}) or a folder of such"
        )
    samples: list[Sample] = [(crop.tensor,) for crop in load_crops(source, form, n_least)]
    where = "scikit-image's photographs" if source is None else f"the pictures in {source}"
    return RealInputs(samples, f"{len(samples)} crops of {where}, {_scale(folder, scale)}", form)


def picture_format(folder: ModelFolder, scale: str | None = None) -> PictureFormat | None:
    """How a network takes pictures; None for one that does not take a single picture.

    Raises:
        SampleError: its type holds no pixels of that scale.
    """
    if len(folder.inputs) != 1:
        return None
    if folder.preprocess is not None and scale is None:
        return PictureFormat.of_classifier(folder.preprocess)
    return PictureFormat.of_input(folder.inputs[0], scale)


def array_samples(folder: ModelFolder, source: Path) -> list[Sample]:
    """Inputs from numpy's or sound files, the first `_MAX_SAMPLES`; none where there are none.

    Args:
        folder: the network.
        source: a file, or a folder of them.

    Raises:
        SampleError: a file cannot be read or does not fit, or the folder holds pictures, too.
    """
    paths = sorted(source.iterdir()) if source.is_dir() else [source]
    files = [path for path in paths if path.suffix.lower() in FILES]
    if files and any(path.suffix.lower() in SUFFIXES for path in paths):
        raise SampleError(
            f"{source} holds both pictures and others ({files[0].name}): give a folder of one kind"
        )
    samples: list[Sample] = []
    for path in files:
        is_sound = path.suffix.lower() == SUFFIX
        samples += (read_sound if is_sound else read_samples)(path, folder.inputs)
        if len(samples) >= _MAX_SAMPLES:
            break
    return samples[:_MAX_SAMPLES]


def _scale(folder: ModelFolder, scale: str | None) -> str:
    if scale is not None:
        return f"scaled to {scale}"
    if folder.preprocess is not None:
        return "scaled as cuts.json says"
    form = picture_format(folder)
    known = [name for name, spread in SCALES.items() if form and spread == (form.mean, form.std)]
    return f"assumed to be scaled to {known[0]} (--scale tells another)"
