"""Pictures of any format and arrays as inputs to judge a network by."""

from __future__ import annotations

import wave
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from partition.data import real_inputs as module
from partition.data.pictures import SCALES, PictureFormat
from partition.data.real_inputs import picture_format, real_inputs
from partition.errors import SampleError
from partition.model.split_point import TensorSpec


def network(tiny, *specs, preprocess=None):
    return replace(tiny, inputs=specs, preprocess=preprocess)


def spec(shape, dtype="float32"):
    return TensorSpec("x", dtype, shape)


@pytest.fixture
def pictures(tmp_path):
    """Two of 90 x 60 pixels: black left, (255, 128, 0) right."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[:, 45:] = 255, 128, 0
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("shape", "dtype", "channels", "last"),
    [
        ((1, 3, 40, 60), "float32", 3, False),
        ((1, 40, 60, 3), "float16", 3, True),
        ((1, 1, 40, 60), "float64", 1, False),
        ((1, 40, 60, 3), "uint8", 3, True),
    ],
)
def test_the_shape_tells_the_format(shape, dtype, channels, last):
    form = PictureFormat.of_input(spec(shape, dtype))
    assert (form.height, form.width, form.channels) == (40, 60, channels)
    assert form.channels_last is last
    tensor = form.tensor(form.resized(Image.new("RGB", (90, 60), (255, 255, 255)), (0, 0, 90, 60)))
    assert (tensor.shape, tensor.dtype) == (shape, dtype)
    assert tensor.max() == tensor.min() == (255 if dtype == "uint8" else 1)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 128), "float32"),
        ((1, 3, 8, 8), "float32"),
        ((1, 16, 40, 60), "float32"),
        ((2, 3, 40, 60), "float32"),
        ((1, 3, 40, 60), "int64"),
        ((1, 3, 4, 40, 60), "float32"),
    ],
)
def test_other_inputs_are_no_pictures(shape, dtype):
    assert PictureFormat.of_input(spec(shape, dtype)) is None


def test_the_scale_is_told_or_assumed(tiny, pictures):
    folder = network(tiny, spec((1, 3, 60, 90)))
    found = real_inputs(folder, pictures, None, 2)
    assert "assumed to be scaled to 0..1 (--scale tells another)" in found.origin
    assert max(x.max() for (x,) in found.samples) == 1.0
    found = real_inputs(folder, pictures, "-1..1", 2)
    assert "scaled to -1..1" in found.origin
    assert min(x.min() for (x,) in found.samples) == -1.0
    assert "as cuts.json says" in real_inputs(tiny, pictures, None, 2).origin
    (mean, std), form = SCALES["imagenet"], picture_format(tiny, "imagenet")
    assert (form.mean, form.std) == (mean, std)


def test_bytes_hold_no_other_scale():
    with pytest.raises(SampleError, match=r"uint8, which holds no pixels of 0\.\.1: give --scale"):
        PictureFormat.of_input(spec((1, 3, 40, 60), "uint8"), "0..1")


def test_proportions_are_kept(tiny, pictures):
    """A picture of the input's proportions is taken as a whole, from its black to its orange."""
    form = picture_format(network(tiny, spec((1, 3, 20, 30), "uint8")))
    image = Image.open(pictures / "a.png")
    assert form.largest(image) == (90, 60)
    wide = replace(form, width=60)
    assert wide.largest(image) == (90, 30)
    tensor = form.tensor(form.resized(image, (0, 0, 90, 60)))
    assert tensor[0, :, 10, 2].tolist() == [0, 0, 0]
    assert tensor[0, :, 10, 27].tolist() == [255, 128, 0]
    assert np.array_equal(np.asarray(form.pixels(tensor)), tensor[0].transpose(1, 2, 0))


def test_photographs_are_taken_where_nothing_is_given_and_the_input_is_rgb(tiny):
    found = real_inputs(network(tiny, spec((1, 24, 24, 3), "uint8")), None, None, 20)
    assert len(found.samples) == 20
    assert "scikit-image's photographs" in found.origin
    assert real_inputs(network(tiny, spec((1, 1, 24, 24))), None, None, 20) is None  # a spectrum?
    two = network(tiny, spec((1, 3, 24, 24)), spec((1, 3, 24, 24)))
    assert real_inputs(two, None, None, 20) is None


def test_grey_pictures_are_taken_where_they_are_given(tiny, pictures):
    found = real_inputs(network(tiny, spec((1, 1, 24, 24))), pictures, None, 4)
    assert {x.shape for (x,) in found.samples} == {(1, 1, 24, 24)}


def test_a_folder_of_arrays_is_read_in_order_up_to_a_number(tiny, tmp_path, monkeypatch):
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.full((4, 8), i, np.float32))
    folder = network(tiny, spec((1, 8)))
    found = real_inputs(folder, tmp_path, None, 2)
    assert [int(x[0, 0]) for (x,) in found.samples] == [0] * 4 + [1] * 4 + [2] * 4
    assert found.picture is None
    monkeypatch.setattr(module, "_MAX_SAMPLES", 5)
    assert len(real_inputs(folder, tmp_path, None, 2).samples) == 5


def test_sound_is_cut_into_pieces(tiny, tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.full(1_000, 2**14, "<i2").tobytes())
    found = real_inputs(network(tiny, spec((0, 320))), tmp_path, None, 2)
    assert [x.shape for (x,) in found.samples] == [(1, 320)] * 3
    assert np.all(found.samples[0][0] == 0.5)
    assert found.origin == f"3 inputs from {tmp_path}"


def test_pictures_and_arrays_together_are_refused(tiny, pictures):
    np.save(pictures / "x.npy", np.zeros(8))
    with pytest.raises(SampleError, match=r"both pictures and others \(x\.npy\)"):
        real_inputs(tiny, pictures, None, 2)
