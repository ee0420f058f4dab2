"""Labelled images to train and to judge a network on: Fashion-MNIST, or a folder per class.

The three parts are fixed: `train` is learned from, `validation` chooses (fusion weight, offload
ratio), and `test` is looked at for published tables only.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from common.regular_file import read_bytes
from partition.codec.codec import Float32Array
from partition.data.image_file import SUFFIXES, read_rgb
from partition.errors import ImageError, PartitionError

Uint8Array = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

FASHION_MNIST = "fashion-mnist"
FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FASHION_MNIST_CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
_N_VALIDATION = 5_000
_PAD_PIXELS = 2
"""28 x 28 pixels become 32 x 32; the garments stand on black."""
_IDX_IMAGES, _IDX_LABELS = 0x803, 0x801
_SHIFT_PX = 2
_VALIDATION_PERCENT, _TEST_PERCENT = 15, 15


class DatasetError(PartitionError):
    """A data set is missing, corrupt or does not fit the network."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Images with their classes."""

    images: Uint8Array
    """(N, 3, H, W), RGB; a grey image is broadcast, so three channels cost no memory."""
    labels: Labels
    """(N,), index into `Dataset.classes`."""

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def first(self, n: int) -> Labelled:
        """The first `n` images, all if there are fewer."""
        return Labelled(self.images[:n], self.labels[:n])


@dataclass(frozen=True, slots=True)
class Dataset:
    """Three fixed parts of a data set."""

    name: str
    classes: tuple[str, ...]
    train: Labelled
    validation: Labelled
    test: Labelled


def preprocess(images: Uint8Array, mean: tuple[float, ...], std: tuple[float, ...]) -> Float32Array:
    """Network inputs (N, 3, H, W): `(x - mean) / std` on 0..255, as a model folder says."""
    shift, scale = np.array((mean, std), np.float32)[:, :, None, None]
    scaled: Float32Array = (images.astype(np.float32) - shift) / scale
    return np.ascontiguousarray(scaled)


def augment(images: Uint8Array, rng: np.random.Generator) -> Uint8Array:
    """Mirror half of a batch and move it by up to two pixels; what enters is black."""
    flipped = np.where(
        rng.random(len(images))[:, None, None, None] < 0.5, images[..., ::-1], images
    )
    edges = ((0, 0), (0, 0), (_SHIFT_PX, _SHIFT_PX), (_SHIFT_PX, _SHIFT_PX))
    padded = np.pad(flipped, edges)
    down, right = rng.integers(0, 2 * _SHIFT_PX + 1, 2)
    height, width = images.shape[2:]
    return np.ascontiguousarray(padded[:, :, down : down + height, right : right + width])


def load(spec: str, size_px: int) -> Dataset:
    """The data set called `spec`.

    Args:
        spec: `fashion-mnist`, or a folder with one sub-folder of images per class.
        size_px: side of the square images; Fashion-MNIST comes in 32 only.

    Raises:
        DatasetError: it is missing, corrupt, or does not come in that size.
    """
    if spec == FASHION_MNIST:
        if size_px != 32:
            raise DatasetError(f"{spec} comes as 32 x 32, not {size_px}: choose a network of 32")
        return load_fashion_mnist()
    return load_folder(Path(spec), size_px)


def load_fashion_mnist(folder: Path = FASHION_MNIST_FOLDER) -> Dataset:
    """Fashion-MNIST (Xiao et al., arXiv 1708.07747) as Debian packages it, padded to 32 x 32.

    Of the 60,000 training images the last 5,000 are `validation`; they were shuffled by their
    authors. `test` is the official one.

    Raises:
        DatasetError: the Debian package is not installed, or a file is corrupt.
    """
    images = _fashion_images(folder / "train-images-idx3-ubyte.gz")
    labels = _fashion_labels(folder / "train-labels-idx1-ubyte.gz", len(images))
    cut = len(images) - min(_N_VALIDATION, len(images) // 2)
    return Dataset(
        FASHION_MNIST,
        FASHION_MNIST_CLASSES,
        Labelled(images[:cut], labels[:cut]),
        Labelled(images[cut:], labels[cut:]),
        load_fashion_mnist_test(folder),
    )


def load_fashion_mnist_test(folder: Path = FASHION_MNIST_FOLDER) -> Labelled:
    """The official test pictures alone, padded to 32 x 32.

    Raises:
        DatasetError: as in `load_fashion_mnist`.
    """
    images = _fashion_images(folder / "t10k-images-idx3-ubyte.gz")
    return Labelled(images, _fashion_labels(folder / "t10k-labels-idx1-ubyte.gz", len(images)))


def _fashion_images(path: Path) -> Uint8Array:
    numbers, body = _read_idx(path, _IDX_IMAGES, 3)
    grey = body.reshape(numbers)
    grey = np.pad(grey, ((0, 0), (_PAD_PIXELS, _PAD_PIXELS), (_PAD_PIXELS, _PAD_PIXELS)))
    n, height, width = grey.shape
    return np.broadcast_to(grey[:, None], (n, 3, height, width))


def _fashion_labels(path: Path, n: int) -> Labels:
    _, body = _read_idx(path, _IDX_LABELS, 1)
    if len(body) != n or (n and body.max() >= len(FASHION_MNIST_CLASSES)):
        raise _corrupt(path, f"{len(body)} labels up to {body.max(initial=0)} for {n} images")
    return body.astype(np.int64)


def _read_idx(path: Path, magic: int, rank: int) -> tuple[tuple[int, ...], Uint8Array]:
    """Shape and values of a gzipped IDX file of unsigned bytes."""
    try:
        data = gzip.decompress(read_bytes(path))
        found, *shape = struct.unpack_from(f">{1 + rank}I", data)
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path} is missing: apt-get install dataset-fashion-mnist (Debian and Ubuntu)"
        ) from error
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise _corrupt(path, str(error)) from error
    body = np.frombuffer(data, np.uint8, offset=4 * (1 + rank))
    if found != magic or len(body) != math.prod(shape):
        raise _corrupt(path, f"magic {found:#x}, shape {shape}, {len(body)} bytes")
    return tuple(shape), body


def _corrupt(path: Path, reason: str) -> DatasetError:
    return DatasetError(
        f"{path} is corrupt ({reason}): apt-get install --reinstall dataset-fashion-mnist"
    )


def load_folder(folder: Path, size_px: int) -> Dataset:
    """A folder with one sub-folder of images per class; classes are sorted by name.

    Which part an image belongs to follows from a hash of its class and file name (70 %, 15 %,
    15 %), so that it stays there when others come or go. The central square is resized.

    Raises:
        DatasetError: fewer than two classes, an unreadable image, or a part without images.
    """
    if not folder.is_dir():
        raise DatasetError(
            f"data {str(folder)!r} is no folder: give {FASHION_MNIST} or a folder of class folders"
        )
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if len(classes) < 2:
        raise DatasetError(f"{folder} holds {len(classes)} class folders: two or more are needed")
    parts: dict[str, list[tuple[Uint8Array, int]]] = {"train": [], "validation": [], "test": []}
    for label, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            if path.suffix.lower() in SUFFIXES:
                parts[_part(f"{name}/{path.name}")].append((_read_image(path, size_px), label))
    for part, items in parts.items():
        if not items:
            raise DatasetError(f"{folder} leaves no image for {part}: add images")
    return Dataset(folder.name, tuple(classes), *(_stack(items) for items in parts.values()))


def _part(key: str) -> str:
    percent = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 100
    if percent < _TEST_PERCENT:
        return "test"
    return "validation" if percent < _TEST_PERCENT + _VALIDATION_PERCENT else "train"


def _read_image(path: Path, size_px: int) -> Uint8Array:
    try:
        upright = read_rgb(path)
    except ImageError as error:
        raise DatasetError(str(error)) from error
    square = ImageOps.fit(upright, (size_px, size_px), Image.Resampling.BICUBIC)
    return np.asarray(square, np.uint8).transpose(2, 0, 1)


def _stack(items: list[tuple[Uint8Array, int]]) -> Labelled:
    images = np.stack([image for image, _ in items])
    return Labelled(images, np.array([label for _, label in items], np.int64))
