"""Photographs as network inputs."""

from __future__ import annotations

import importlib.util
import io
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from common import extras
from partition.data.image_file import SUFFIXES, read_rgb
from partition.data.pictures import Box, PictureFormat
from partition.errors import ImageError

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
_JPEG_SUFFIXES = (".jpeg", ".jpg")
_MAX_INPUT_BYTES = 10**9
_MAX_DECODED_BYTES = 10**9
_MAX_CROP_BYTES = 2 * 10**8
"""40 crops of 640 x 640; a board with 4 GB holds network and outputs, too."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """One input for the network."""

    name: str
    tensor: npt.NDArray[Any]
    """As `PictureFormat.tensor` makes it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded photograph, as a camera gives one; a call prepares it for the network."""

    image: Image.Image
    """RGB, in its own size."""
    form: PictureFormat
    file: bytes = b""
    """As which it came, if that is a JPEG file."""

    def __call__(self) -> tuple[npt.NDArray[Any], ...]:
        """The network's input: its central crop, resized and scaled."""
        small = self.form.resized(self.image, _centre(self.image, self.form))
        return (self.form.tensor(small),)


def load_pictures(source: Path | None, form: PictureFormat) -> list[Picture]:
    """Every photograph in a folder, decoded and no more, sorted by name.

    Args:
        source: as in `load_photographs`.
        form: as in `load_photographs`.

    Raises:
        ImageError: as in `load_photographs`; of more than should lie in memory at once, decoded.
    """
    pictures: list[Picture] = []
    n_bytes = 0
    for path, image in _images(source):
        file = path.read_bytes() if path.suffix.lower() in _JPEG_SUFFIXES else b""
        n_bytes += 3 * image.width * image.height + len(file)
        if n_bytes > _MAX_DECODED_BYTES:
            raise ImageError(
                f"the photographs up to {path} take more than {_MAX_DECODED_BYTES / 1e9:g} GB "
                "decoded: give fewer or smaller ones"
            )
        pictures.append(Picture(image, form, file))
    return pictures


def load_photographs(source: Path | None, form: PictureFormat) -> list[Photograph]:
    """The central crop of every photograph in a folder, sorted by name.

    Args:
        source: a folder of images; None takes the ones scikit-image installs.
        form: how the network takes them.

    Raises:
        ImageError: the folder is missing, without images or with more than should lie in memory at
            once, or an image cannot be decoded or is too large.
    """
    _check_room(source, form)
    photographs = []
    for path, image in _images(source):
        (tensor,) = Picture(image, form)()
        photographs.append(Photograph(path.name, tensor))
    return photographs


def load_crops(source: Path | None, form: PictureFormat, n_least: int) -> list[Photograph]:
    """Crops at random places of every photograph, as many of each, the same ones every time.

    Args:
        source: as in `load_photographs`.
        form: as in `load_photographs`.
        n_least: crops to make at least, half to full size; fewer where their memory would be
            more than is good.

    Raises:
        ImageError: as in `load_photographs`.
    """
    _check_room(source, form)
    n_files = len(_files(source))
    per_image = min(-(-n_least // n_files), max(_MAX_CROP_BYTES // form.input_bytes // n_files, 1))
    rng = np.random.default_rng(0)
    crops = []
    for path, image in _images(source):
        largest = form.largest(image)
        for _ in range(per_image):
            share = rng.uniform(_MIN_CROP_SHARE, 1)
            width, height = share * largest[0], share * largest[1]
            left, top = rng.uniform(0, image.width - width), rng.uniform(0, image.height - height)
            part = form.resized(image, (left, top, left + width, top + height))
            crops.append(Photograph(path.name, form.tensor(part)))
    return crops


def typical_jpeg_bytes(source: Path | None, form: PictureFormat) -> int:
    """Median size of the photographs as JPEG (quality 85), cropped and resized for the network.

    Args:
        source: as in `load_photographs`.
        form: as in `load_photographs`.

    Raises:
        ImageError: as in `load_photographs`.
    """
    sizes = []
    for _, image in _images(source):
        encoded = io.BytesIO()
        form.resized(image, _centre(image, form)).save(encoded, "JPEG", quality=_JPEG_QUALITY)
        sizes.append(encoded.tell())
    return int(statistics.median(sizes))


def _images(source: Path | None) -> Iterator[tuple[Path, Image.Image]]:
    for path in _files(source):
        yield path, read_rgb(path)


def _files(source: Path | None) -> list[Path]:
    return _shipped_paths() if source is None else _paths(source)


def _check_room(source: Path | None, form: PictureFormat) -> None:
    """Refuse more inputs than should lie in memory at once."""
    n_bytes = form.input_bytes
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
        there = "is not a folder" if source.exists() else "does not exist"
        raise ImageError(f"{source} {there}: give a folder of photographs or a file of inputs")
    paths = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ImageError(f"{source} holds no image ({', '.join(SUFFIXES)}): add some")
    return paths


def _centre(image: Image.Image, form: PictureFormat) -> Box:
    width, height = (form.crop_fraction * side for side in form.largest(image))
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return left, top, left + width, top + height
