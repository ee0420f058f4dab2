"""What a deployed network is fed with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partition.data.datasets import FASHION_MNIST_FOLDER
from partition.data.example_inputs import N_PICTURES, example_inputs
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
