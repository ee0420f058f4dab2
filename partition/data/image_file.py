"""One image file as upright RGB, refused by its header where it would fill the memory."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import IO

from PIL import Image, ImageOps

from common.regular_file import open_regular
from partition.errors import ImageError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
JPEG = "JPEG"
_FORMATS = ("BMP", JPEG, "PNG", "WEBP")
"""Pillow reads some forty, and each is a reader of untrusted bytes."""
MAX_PIXELS = 50_000_000
"""Most cameras take less (phones 12 or 48 million). Pillow takes 4 bytes per pixel, and two images
at once where one is turned or its mode changed: 400 MB."""
MAX_BYTES = 4 * MAX_PIXELS
"""An uncompressed one; WebP is read as a whole."""
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, OverflowError, Image.DecompressionBombError)


def read_rgb(path: Path) -> Image.Image:
    """An image, turned as its camera was held; of an animation the first picture.

    Raises:
        ImageError: it cannot be decoded, is in another format, or is too large.
    """
    try:
        with open_regular(path) as file:
            if (size := os.fstat(file.fileno()).st_size) > MAX_BYTES:
                raise ImageError(
                    f"image {path} has {size} bytes, more than the {MAX_BYTES} that are read: make "
                    "it smaller or remove it"
                )
            return _decoded(file, f"image {path}", _FORMATS)
    except _BROKEN as error:
        reason = " ".join(str(error).split())
        raise ImageError(
            f"image {path} cannot be decoded ({reason}): replace or remove it"
        ) from error


def rgb_of_jpeg(file: bytes) -> Image.Image:
    """The same of the bytes of a JPEG file, which nobody vouches for.

    Raises:
        ImageError: they are none, or of too large a picture.
    """
    return _rgb_of_bytes(file, "no JPEG file", (JPEG,))


def rgb_of_file(file: bytes) -> Image.Image:
    """The same of the bytes of a file in any of the formats, which nobody vouches for.

    Raises:
        ImageError: they are none, or of too large a picture.
    """
    return _rgb_of_bytes(file, f"no file ({', '.join(_FORMATS)})", _FORMATS)


def _rgb_of_bytes(file: bytes, failing: str, formats: tuple[str, ...]) -> Image.Image:
    try:
        return _decoded(io.BytesIO(file), "the picture", formats)
    except _BROKEN as error:
        reason = " ".join(str(error).split())
        raise ImageError(f"the picture is {failing} that can be decoded ({reason})") from error


def _decoded(file: IO[bytes], name: str, formats: tuple[str, ...]) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns from 89 million pixels on, and refuses twice as many.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(file, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(
                    f"{name} has {image.width} x {image.height} pixels, more than the "
                    f"{MAX_PIXELS} that are decoded: make it smaller or remove it"
                )
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return image.copy() if image.mode == "RGB" else image.convert("RGB")
