"""Labelled images: the packaged Fashion-MNIST, folders of classes, and what is said when broken."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from partition.data import datasets
from partition.data.datasets import FASHION_MNIST_FOLDER, DatasetError

needs_fashion_mnist = pytest.mark.skipif(
    not FASHION_MNIST_FOLDER.is_dir(), reason="apt-get install dataset-fashion-mnist"
)


@pytest.fixture(scope="module")
def fashion():
    return datasets.load("fashion-mnist", 32)


@needs_fashion_mnist
def test_fashion_mnist_is_split_without_touching_the_test_images(fashion):
    assert [len(part) for part in (fashion.train, fashion.validation, fashion.test)] == [
        55_000,
        5_000,
        10_000,
    ]
    assert fashion.test.images.shape == (10_000, 3, 32, 32)
    # The authors drew the same number of every class.
    assert np.bincount(fashion.test.labels).tolist() == [1000] * 10


@needs_fashion_mnist
def test_fashion_mnist_is_padded_with_black_and_grey(fashion):
    image = fashion.train.images[0]
    assert (image[0] == image[2]).all()
    assert image[:, :2].max() == 0
    assert image[:, :, -2:].max() == 0
    assert image[:, 2:-2, 2:-2].max() == 255
    assert fashion.classes[fashion.train.labels[0]] == "ankle boot"


def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(DatasetError, match="apt-get install dataset-fashion-mnist"):
        datasets.load_fashion_mnist(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        gzip.compress(b""),
        gzip.compress(struct.pack(">4I", 0x803, 2, 28, 28) + b"short"),
        gzip.compress(struct.pack(">4I", 0x801, 0, 28, 28)),
        gzip.compress(struct.pack(">4I", 0x803, 1, 28, 28) + bytes(784))[:-9],
    ],
    ids=["empty", "no gzip", "nothing inside", "too short", "labels", "cut off"],
)
def test_a_corrupt_file_is_told_in_a_sentence(tmp_path, content):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"is corrupt \(.*\): apt-get install --reinstall"):
        datasets.load_fashion_mnist(tmp_path)


def test_labels_must_fit_the_images(tmp_path):
    images = gzip.compress(struct.pack(">4I", 0x803, 2, 28, 28) + bytes(2 * 784))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(images)
    labels = gzip.compress(struct.pack(">2I", 0x801, 2) + bytes([3, 10]))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(labels)
    with pytest.raises(DatasetError, match="2 labels up to 10 for 2 images"):
        datasets.load_fashion_mnist(tmp_path)


@pytest.fixture
def class_folder(tmp_path):
    for name, value in (("cat", 40), ("dog", 200)):
        (tmp_path / name).mkdir()
        for i in range(40):
            Image.new("L", (20 + i, 30), value).save(tmp_path / name / f"{i}.png")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_of_class_folders_is_a_data_set(class_folder):
    data = datasets.load(str(class_folder), 16)
    assert data.classes == ("cat", "dog")
    parts = (data.train, data.validation, data.test)
    assert sum(len(part) for part in parts) == 80
    assert len(data.train) > len(data.test) > 0
    for part in parts:
        assert part.images.shape[1:] == (3, 16, 16)
        assert (part.images[:, 0, 8, 8] == np.where(part.labels == 0, 40, 200)).all()


def test_an_image_keeps_its_part_when_others_come(class_folder):
    before = len(datasets.load(str(class_folder), 8).test)
    Image.new("L", (8, 8)).save(class_folder / "dog" / "new.png")
    after = len(datasets.load(str(class_folder), 8).test)
    assert after - before in (0, 1)


def test_what_is_no_data_set_is_told(tmp_path, class_folder):
    with pytest.raises(DatasetError, match="is no folder"):
        datasets.load(str(tmp_path / "absent"), 32)
    (tmp_path / "one" / "only").mkdir(parents=True)
    with pytest.raises(DatasetError, match="1 class folders"):
        datasets.load(str(tmp_path / "one"), 32)
    with pytest.raises(DatasetError, match="32 x 32, not 64"):
        datasets.load("fashion-mnist", 64)
    (class_folder / "cat" / "7.png").write_bytes(b"broken")
    with pytest.raises(DatasetError, match=r"7\.png cannot be decoded"):
        datasets.load(str(class_folder), 8)


def test_preprocessing_is_the_model_folders():
    images = np.full((1, 3, 2, 2), 163, np.uint8)
    assert datasets.preprocess(images, (73.0,) * 3, (90.0,) * 3) == pytest.approx(1.0)


def test_augmentation_moves_and_mirrors_but_keeps_the_pixels():
    images = np.zeros((64, 3, 12, 12), np.uint8)
    images[:, :, 4:6, 5] = 7
    moved = datasets.augment(images, np.random.default_rng(0))
    assert moved.shape == images.shape
    assert (moved.sum((1, 2, 3)) == images.sum((1, 2, 3))).all()
    columns = {int(image[0].any(0).argmax()) for image in moved}
    assert len(columns) == 2
