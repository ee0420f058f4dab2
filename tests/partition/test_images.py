"""Photographs become inputs; broken ones are named."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from PIL import Image

from partition.errors import ImageError
from partition.images import SHIPPED, load_crops, load_photographs
from partition.model_folder import Preprocess

PREPROCESS = Preprocess(32, 0.5, (127.0, 0.0, 127.0), (128.0, 1.0, 64.0))


def save(path, *, size=(80, 60), colour=(255, 10, 63)):
    Image.new("RGB", size, colour).save(path)
    return path


def test_pixels_are_scaled_per_channel_in_rgb_order(tmp_path):
    save(tmp_path / "a.png")
    (photo,) = load_photographs(tmp_path, PREPROCESS)
    assert photo.name == "a.png"
    assert photo.tensor.dtype == np.float32
    assert photo.tensor.shape == (1, 3, 32, 32)
    np.testing.assert_allclose(photo.tensor[0, :, 5, 5], [1.0, 10.0, -1.0])


def test_only_the_centre_is_kept(tmp_path):
    image = Image.new("RGB", (80, 40), (0, 0, 0))
    image.paste((0, 200, 0), (26, 6, 54, 34))  # bicubic looks beyond the crop
    image.save(tmp_path / "a.png")
    (photo,) = load_photographs(tmp_path, PREPROCESS)
    assert photo.tensor[0, 1].min() == 200


def test_grey_and_rotated_images_are_read_as_seen(tmp_path):
    Image.new("L", (50, 50), 127).save(tmp_path / "grey.png")
    image = Image.new("RGB", (40, 80))
    image.paste((0, 100, 0), (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    grey, turned = load_photographs(tmp_path, PREPROCESS)
    assert abs(grey.tensor[0, 0]).max() == 0
    assert turned.tensor[0, 1, -1].mean() > 90
    assert turned.tensor[0, 1, 0].mean() < 10


def test_the_shipped_photographs_load():
    photographs = load_photographs(None, PREPROCESS)
    assert tuple(photo.name for photo in photographs) == SHIPPED
    assert all(np.isfinite(photo.tensor).all() for photo in photographs)


def test_crops_differ_and_repeat(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    crops = load_crops(tmp_path, PREPROCESS, 3)
    again = load_crops(tmp_path, PREPROCESS, 3)
    assert len(crops) == 3
    assert not np.array_equal(crops[0].tensor, crops[1].tensor)
    for one, other in zip(crops, again, strict=True):
        np.testing.assert_array_equal(one.tensor, other.tensor)


def test_the_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"\.\[photos\]"):
        load_photographs(None, PREPROCESS)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_named(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    path = tmp_path / f"half{suffix}"
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    for size in (len(data) // 2, 20, 0):
        path.write_bytes(data[:size])
        with pytest.raises(ImageError, match="half"):
            load_photographs(tmp_path, PREPROCESS)


def test_garbage_with_an_image_name_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 100)
    with pytest.raises(ImageError, match=r"a\.png"):
        load_photographs(tmp_path, PREPROCESS)


def test_a_folder_without_images_or_no_folder_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ImageError, match="holds no image"):
        load_photographs(tmp_path, PREPROCESS)
    with pytest.raises(ImageError, match="not a folder"):
        load_photographs(tmp_path / "notes.txt", PREPROCESS)
    with pytest.raises(ImageError, match="not a folder"):
        load_photographs(tmp_path / "gone", PREPROCESS)
