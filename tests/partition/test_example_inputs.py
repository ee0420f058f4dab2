"""What a deployed network is fed with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partition.data import images
from partition.data.datasets import FASHION_MNIST_FOLDER
from partition.data.example_inputs import N_PICTURES, camera_inputs, example_inputs
from partition.errors import PartitionError
from partition.model.runtime import SplitRuntime
from partition.model.split_point import TensorSpec
from partition.prepare.build import prepare

needs_fashion_mnist = pytest.mark.skipif(
    not FASHION_MNIST_FOLDER.is_dir(), reason="apt-get install dataset-fashion-mnist"
)


def grey(folder, side):
    spec = replace(folder.inputs[0], shape=(1, 1, side, side))
    return replace(folder, inputs=(spec,), preprocess=None)


@needs_fashion_mnist
def test_fashion_networks_see_the_test_pictures_they_were_trained_for(tmp_path):
    from partition.data import datasets

    folder = prepare("fashion-mobilenet", tmp_path / "net")
    pictures = example_inputs(folder, Path("fashion-mnist"))
    assert len(pictures) == N_PICTURES
    runtime = SplitRuntime(folder)
    labels = datasets.load_fashion_mnist_test().labels
    hits = [
        int(runtime.whole(x)[0].argmax()) == label
        for x, label in zip(pictures, labels, strict=False)
    ]
    assert np.mean(hits) > 0.8
    assert len(example_inputs(folder)) == 10  # photographs


@needs_fashion_mnist
@pytest.mark.parametrize("side", [28, 32])
def test_small_grey_networks_see_grey_pictures(tiny, side):
    pictures = example_inputs(grey(tiny, side))
    assert {x.shape for (x,) in pictures} == {(1, 1, side, side)}
    assert {x.dtype for (x,) in pictures} == {np.dtype(np.float32)}
    assert abs(np.mean(pictures)) < (0.2 if side == 28 else 0.5)
    assert np.max(pictures) == pytest.approx((255 - 72.94) / 90.02)


@needs_fashion_mnist
def test_a_network_of_another_size_takes_no_fashion_pictures(tiny):
    with pytest.raises(PartitionError, match="takes no pictures of"):
        example_inputs(tiny, Path("fashion-mnist"))


def photographs(folder):
    for number, size in enumerate([(80, 60), (48, 90)]):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_a_cameras_pictures_are_prepared_when_they_are_asked_for(tiny, tmp_path):
    ready = example_inputs(tiny, photographs(tmp_path))
    decoded = camera_inputs(tiny, tmp_path)
    assert [picture.image.size for picture in decoded] == [(60, 80), (90, 48)]
    for (expected,), picture in zip(ready, decoded, strict=True):
        np.testing.assert_array_equal(picture()[0], expected)


def test_what_is_no_photograph_comes_prepared(tiny, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, *tiny.input_shape[1:]), np.float32))
    (first, _) = camera_inputs(tiny, tmp_path / "x.npy")
    assert first[0].shape == tiny.input_shape


def test_decoded_pictures_that_would_fill_the_memory_are_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_MAX_DECODED_BYTES", 3 * 60 * 80)
    with pytest.raises(PartitionError, match=r"1\.png take more than .* decoded: give fewer"):
        camera_inputs(tiny, photographs(tmp_path))


def test_a_network_without_pictures_takes_arrays(tiny, tmp_path):
    spec = TensorSpec("tokens", "int64", (1, 8))
    language = replace(tiny, inputs=(spec,), preprocess=None)
    with pytest.raises(PartitionError, match=r"takes no photographs: give a file .*\.npz"):
        example_inputs(language)
    np.save(tmp_path / "x.npy", np.arange(24).reshape(3, 8))
    (first,), *others = example_inputs(language, tmp_path / "x.npy")
    assert first.tolist() == [list(range(8))]
    assert len(others) == 2
    assert len(example_inputs(language, tmp_path)) == 3  # a folder of such


def test_a_detector_sees_photographs(tiny):
    spec = TensorSpec("images", "uint8", (1, 40, 60, 3))
    pictures = example_inputs(replace(tiny, inputs=(spec,), preprocess=None))
    assert {(x.shape, x.dtype.name) for (x,) in pictures} == {((1, 40, 60, 3), "uint8")}
    assert max(int(x.max()) for (x,) in pictures) > 200
