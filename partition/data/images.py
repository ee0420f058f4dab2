"""Photographs as network inputs."""

from __future__ import annotations

import importlib.util
import io
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from common import extras
from partition.codec.codec import Float32Array
from partition.data.image_file import SUFFIXES, read_rgb
from partition.errors import ImageError
from partition.model.split_point import Preprocess

SHIPPED = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
)
"""Photographs that scikit-image installs."""
_MIN_CROP_SHARE = 0.5
_JPEG_QUALITY = 85
_MAX_INPUT_BYTES = 10**9


@dataclass(frozen=True, slots=True)
class Photograph:
    """One input for the network."""

    name: str
    tensor: Float32Array
    """(1, 3, size, size), preprocessed."""


def load_photographs(source: Path | None, preprocess: Preprocess) -> list[Photograph]:
    """The central crop of every photograph in a folder, sorted by name.

    Args:
        source: a folder of images; None takes the ones scikit-image installs.
        preprocess: the model's preprocessing.

    Raises:
        ImageError: the folder is missing, without images or with more than should lie in memory at
            once, or an image cannot be decoded or is too large.
    """
    _check_room(source, preprocess, 1)
    photographs = []
    for path, image in _images(source):
        tensor = _to_tensor(image, _centre(image, preprocess), preprocess)
        photographs.append(Photograph(path.name, tensor))
    return photographs


def load_crops(source: Path | None, preprocess: Preprocess, per_image: int) -> list[Photograph]:
    """Square crops at random places of every photograph, the same ones every time.

    Args:
        source: as in `load_photographs`.
        preprocess: the model's preprocessing.
        per_image: crops of each photograph, half to full size.

    Raises:
        ImageError: as in `load_photographs`.
    """
    _check_room(source, preprocess, per_image)
    rng = np.random.default_rng(0)
    crops = []
    for path, image in _images(source):
        for _ in range(per_image):
            side = rng.uniform(_MIN_CROP_SHARE, 1) * min(image.size)
            left, top = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
            tensor = _to_tensor(image, (left, top, side), preprocess)
            crops.append(Photograph(path.name, tensor))
    return crops


def typical_jpeg_bytes(source: Path | None, preprocess: Preprocess) -> int:
    """Median size of the photographs as JPEG (quality 85), cropped and resized for the network.

    Args:
        source: as in `load_photographs`.
        preprocess: the model's preprocessing.

    Raises:
        ImageError: as in `load_photographs`.
    """
    sizes = []
    for _, image in _images(source):
        square = _centre(image, preprocess)
        encoded = io.BytesIO()
        _resized(image, square, preprocess).save(encoded, "JPEG", quality=_JPEG_QUALITY)
        sizes.append(encoded.tell())
    return int(statistics.median(sizes))


def _images(source: Path | None) -> Iterator[tuple[Path, Image.Image]]:
    for path in _files(source):
        yield path, read_rgb(path)


def _files(source: Path | None) -> list[Path]:
    return _shipped_paths() if source is None else _paths(source)


def _check_room(source: Path | None, preprocess: Preprocess, per_image: int) -> None:
    """Refuse more inputs than should lie in memory at once."""
    n_bytes = 3 * preprocess.size**2 * np.dtype(np.float32).itemsize * per_image
    n_files, n_most = len(_files(source)), max(_MAX_INPUT_BYTES // n_bytes, 1)
    if n_files > n_most:
        raise ImageError(
            f"{source} holds {n_files} images, which take {n_files * n_bytes / 1e9:.1f} GB as "
            f"inputs: give a folder of {n_most} at most"
        )


def _shipped_paths() -> list[Path]:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.submodule_search_locations is None:
        raise ImageError(
            f"no photographs: install scikit-image ({extras.install('photos')}) or give a folder"
        )
    return [Path(spec.submodule_search_locations[0]) / "data" / name for name in SHIPPED]


def _paths(source: Path) -> list[Path]:
    if not source.is_dir():
        raise ImageError(f"{source} is not a folder: give a folder of photographs")
    paths = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ImageError(f"{source} holds no image ({', '.join(SUFFIXES)}): add some")
    return paths


def _centre(image: Image.Image, preprocess: Preprocess) -> tuple[float, float, float]:
    """Left, top and side of the central crop."""
    side = preprocess.crop_fraction * min(image.size)
    return (image.width - side) / 2, (image.height - side) / 2, side


def _resized(
    image: Image.Image, square: tuple[float, float, float], preprocess: Preprocess
) -> Image.Image:
    left, top, side = square
    size = (preprocess.size, preprocess.size)
    return image.resize(size, Image.Resampling.BICUBIC, (left, top, left + side, top + side))


def _to_tensor(
    image: Image.Image, square: tuple[float, float, float], preprocess: Preprocess
) -> Float32Array:
    pixels = np.asarray(_resized(image, square, preprocess), np.float32)
    mean, std = np.array((preprocess.mean, preprocess.std), np.float32)
    scaled: Float32Array = (pixels - mean) / std
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])
