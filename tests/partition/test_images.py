"""Photographs become inputs; broken ones are named."""

from __future__ import annotations

import importlib.util
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partition.data import images
from partition.data.image_file import MAX_PIXELS, read_rgb
from partition.data.images import SHIPPED, load_crops, load_photographs
from partition.data.pictures import PictureFormat
from partition.errors import ImageError
from partition.model.split_point import Preprocess

FORM = PictureFormat.of_classifier(Preprocess(32, 0.5, (127.0, 0.0, 127.0), (128.0, 1.0, 64.0)))


def save(path, *, size=(80, 60), colour=(255, 10, 63)):
    Image.new("RGB", size, colour).save(path)
    return path


def test_pixels_are_scaled_per_channel_in_rgb_order(tmp_path):
    save(tmp_path / "a.png")
    (photo,) = load_photographs(tmp_path, FORM)
    assert photo.name == "a.png"
    assert photo.tensor.dtype == np.float32
    assert photo.tensor.shape == (1, 3, 32, 32)
    np.testing.assert_allclose(photo.tensor[0, :, 5, 5], [1.0, 10.0, -1.0])


def test_only_the_centre_is_kept(tmp_path):
    image = Image.new("RGB", (80, 40), (0, 0, 0))
    image.paste((0, 200, 0), (26, 6, 54, 34))  # bicubic looks beyond the crop
    image.save(tmp_path / "a.png")
    (photo,) = load_photographs(tmp_path, FORM)
    assert photo.tensor[0, 1].min() == 200


def test_grey_and_rotated_images_are_read_as_seen(tmp_path):
    Image.new("L", (50, 50), 127).save(tmp_path / "grey.png")
    image = Image.new("RGB", (40, 80))
    image.paste((0, 100, 0), (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    grey, turned = load_photographs(tmp_path, FORM)
    assert abs(grey.tensor[0, 0]).max() == 0
    assert turned.tensor[0, 1, -1].mean() > 90
    assert turned.tensor[0, 1, 0].mean() < 10


def test_the_shipped_photographs_load():
    photographs = load_photographs(None, FORM)
    assert tuple(photo.name for photo in photographs) == SHIPPED
    assert all(np.isfinite(photo.tensor).all() for photo in photographs)


def test_crops_differ_and_repeat(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    crops = load_crops(tmp_path, FORM, 3)
    again = load_crops(tmp_path, FORM, 3)
    assert len(crops) == 3
    assert not np.array_equal(crops[0].tensor, crops[1].tensor)
    for one, other in zip(crops, again, strict=True):
        np.testing.assert_array_equal(one.tensor, other.tensor)


def test_crops_are_as_many_as_wanted_or_as_there_is_memory_for(tmp_path, monkeypatch):
    for name in "ab":
        save(tmp_path / f"{name}.png")
    assert len(load_crops(tmp_path, FORM, 5)) == 6
    monkeypatch.setattr(images, "_MAX_CROP_BYTES", 5 * FORM.input_bytes)
    assert len(load_crops(tmp_path, FORM, 100)) == 4


def test_the_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"\[photos\]"):
        load_photographs(None, FORM)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_named(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    path = tmp_path / f"half{suffix}"
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    for size in (len(data) // 2, 20, 0):
        path.write_bytes(data[:size])
        with pytest.raises(ImageError, match="half"):
            load_photographs(tmp_path, FORM)


def test_garbage_with_an_image_name_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 100)
    with pytest.raises(ImageError, match=r"a\.png"):
        load_photographs(tmp_path, FORM)


def test_a_folder_without_images_or_no_folder_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ImageError, match="holds no image"):
        load_photographs(tmp_path, FORM)
    with pytest.raises(ImageError, match="not a folder"):
        load_photographs(tmp_path / "notes.txt", FORM)
    with pytest.raises(ImageError, match="does not exist"):
        load_photographs(tmp_path / "gone", FORM)


def bomb_png(path: Path, side: int) -> Path:
    """A white image of a few kB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    packer = zlib.compressobj(9)
    row = bytes([0]) + b"\xff" * (side // 8 + 1)  # one bit per pixel
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("side", [7100, 13_000, 30_000])
def test_an_image_that_would_fill_the_memory_is_refused_by_its_header(tmp_path, side):
    path = bomb_png(tmp_path / "small.png", side)
    assert path.stat().st_size < 200_000
    code = f"""import pathlib, resource
from partition.data.image_file import ImageError, read_rgb
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_rgb(pathlib.Path({str(path)!r}))
except ImageError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stderr == ""
    sentence, grown_kb = result.stdout.splitlines()
    assert f"{path} " in sentence
    assert "pixels" in sentence or "decompression bomb" in sentence
    assert int(grown_kb) < 20_000


def test_the_largest_image_takes_little_more_than_itself(tmp_path):
    bomb_png(tmp_path / "large.png", int(MAX_PIXELS**0.5))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_rgb(tmp_path / "large.png").mode == "RGB"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 9 * MAX_PIXELS / 1000


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "JPEG"])
def test_other_formats_are_bound_as_well(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("partition.data.image_file.MAX_PIXELS", 80 * 60 - 1)
    path = tmp_path / f"x.{kind.lower()}"
    Image.new("RGB", (80, 60)).save(path, kind)
    with pytest.raises(ImageError, match=f"{path} has 80 x 60 pixels"):
        read_rgb(path)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "x.webp"
    with path.open("wb") as stream:
        stream.truncate(2**34)
    with pytest.raises(ImageError, match="has 17179869184 bytes"):
        read_rgb(path)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PPM", "ICO"])
def test_another_format_under_the_name_of_a_known_one_is_refused(tmp_path, kind):
    Image.new("RGB", (80, 60)).save(tmp_path / "x.png", kind)
    with pytest.raises(ImageError, match="cannot be decoded"):
        read_rgb(tmp_path / "x.png")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_picture_is_taken(tmp_path, kind):
    pictures = [Image.new("RGB", (80, 60), (value, 0, 0)) for value in (10, 200)]
    path = tmp_path / f"x.{kind.lower()}"
    pictures[0].save(path, kind, save_all=True, append_images=pictures[1:], lossless=True)
    assert read_rgb(path).getpixel((5, 5)) == (10, 0, 0)


def test_a_folder_of_thousands_is_refused_before_any_is_read(tmp_path, monkeypatch):
    for number in range(5):
        (tmp_path / f"{number}.png").touch()
    monkeypatch.setattr(images, "_MAX_INPUT_BYTES", 4 * 3 * 32 * 32 * 4)
    with pytest.raises(ImageError, match=r"holds 5 images, .* give a folder of 4 at most"):
        load_photographs(tmp_path, FORM)
    with pytest.raises(ImageError, match="give a folder of 4 at most"):
        load_crops(tmp_path, FORM, 2)
