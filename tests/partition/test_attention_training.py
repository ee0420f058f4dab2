"""The two shipped networks, and the training command from images to a table and graphs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partition import cli
from partition.attention.runtime import AttentionRuntime
from partition.data import datasets
from partition.data.datasets import FASHION_MNIST_FOLDER
from partition.model.accuracy_table import AccuracyTable
from partition.model.folder import ModelFolder

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from benchmarks.attention import rankings  # noqa: E402
from partition import train_attention, train_classifier  # noqa: E402
from partition.attention import training  # noqa: E402
from partition.errors import ModelNotFoundError, PartitionError  # noqa: E402
from partition.prepare import fashion_nets  # noqa: E402
from partition.prepare.build import prepare  # noqa: E402

needs_fashion_mnist = pytest.mark.skipif(
    not FASHION_MNIST_FOLDER.is_dir(), reason="apt-get install dataset-fashion-mnist"
)
ACCURACY_OF_FIRST_1000 = {"fashion-resnet": 0.90, "fashion-mobilenet": 0.89}


def two_classes():
    """A network for the folder below; found by its import path, as a user's would be."""
    return fashion_nets.build("fashion-mobilenet", 2), torch.zeros(1, 3, 32, 32)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Dark and bright images, noisy."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name, value in (("bright", 150), ("dark", 90)):
        (folder / name).mkdir()
        for i in range(60):
            noisy = np.clip(rng.normal(value, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / name / f"{i}.png")
    return folder


@needs_fashion_mnist
@pytest.mark.parametrize("name", fashion_nets.NETWORKS)
def test_shipped_weights_reach_their_accuracy(name):
    torch.set_num_threads(1)
    first = datasets.load_fashion_mnist().test.first(1000)
    assert (
        train_classifier.accuracy(fashion_nets.trained(name), first)
        >= (ACCURACY_OF_FIRST_1000[name])
    )


@pytest.mark.parametrize("name", fashion_nets.NETWORKS)
def test_shipped_networks_are_small_and_have_natural_bottlenecks(name, tmp_path):
    assert (fashion_nets.WEIGHTS / f"{name}.safetensors").stat().st_size <= 500_000
    folder = prepare(name, tmp_path / name)
    taken = [p for p in folder.split_points if train_attention.takes_attention(p, 10)]
    assert len(taken) >= 2
    for point in taken:
        assert np.prod(point.shapes[0]) < np.prod(folder.input_shape)


def test_preprocessing_is_the_same_in_training_and_in_the_zoo():
    from partition.prepare import zoo

    for name in fashion_nets.NETWORKS:
        source = zoo.resolve(name)
        assert (source.mean, source.std) == (fashion_nets.MEAN, fashion_nets.STD)


def test_a_classifier_learns_and_is_written_small(images, tmp_path, capsys):
    data = datasets.load(str(images), 32)
    network = fashion_nets.build("fashion-mobilenet", 2)
    train_classifier.train(network, data, epochs=20, seed=0)
    assert train_classifier.accuracy(network, data.validation) > 0.8
    assert "epoch 20/20: validation" in capsys.readouterr().out
    fashion_nets.save(network, tmp_path / "net.safetensors", "fashion-mobilenet")
    assert (tmp_path / "net.safetensors").stat().st_size < 250_000
    loaded = fashion_nets.load(tmp_path / "net.safetensors")
    assert train_classifier.accuracy(loaded, data.validation) > 0.8


@pytest.fixture
def three_classes(images, tmp_path):
    folder = shutil.copytree(images, tmp_path / "three")
    shutil.copytree(folder / "dark", folder / "zebra")
    return folder


def command(monkeypatch, module, *options) -> int:
    monkeypatch.setattr("sys.argv", ["command", *map(str, options)])
    return cli.run(module._main)


def test_a_folder_of_three_classes_gets_a_classifier_and_attention(
    three_classes, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    shipped = {path: path.read_bytes() for path in fashion_nets.WEIGHTS.iterdir()}
    data = ("--data", three_classes)
    options = ("--model", "fashion-mobilenet", *data, "--epochs", 1)
    assert command(monkeypatch, train_classifier, *options) == 0
    written = Path("models") / "fashion-mobilenet-three.safetensors"
    assert f"wrote {written}: 3 classes" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in fashion_nets.WEIGHTS.iterdir()} == shipped
    folder = prepare(str(written))
    assert (folder.path, folder.n_classes) == (Path("models/fashion-mobilenet-three"), 3)
    point = [p for p in folder.split_points if train_attention.takes_attention(p, 3)][-1]
    attention = ("--model", written, *data, "--epochs", 1, "--splits")
    assert command(monkeypatch, train_attention, *attention, point.name) == 0
    assert ModelFolder.open("fashion-mobilenet-three").attention
    assert command(monkeypatch, train_attention, *attention, "blocks") == 2
    assert "has no split point 'blocks'" in capsys.readouterr().err
    assert command(monkeypatch, train_classifier, *options, "--seed", 1) == 0
    capsys.readouterr()
    assert command(monkeypatch, train_attention, *attention, point.name) == 2
    assert "it is of other weights: run python -m partition.prepare" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "said"),
    [("w.bin", "ends in .safetensors"), ("file/w.safetensors", "cannot be written")],
)
def test_weights_that_cannot_be_written_are_told_before_training(
    images, tmp_path, monkeypatch, capsys, out, said
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(train_classifier, "train", None)
    options = ("--model", "fashion-resnet", "--data", images, "--out", tmp_path / out)
    assert command(monkeypatch, train_classifier, *options) == 2
    assert said in capsys.readouterr().err


def test_weights_of_something_else_are_refused(tmp_path):
    (tmp_path / "text.safetensors").write_text("no weights")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("text", "other", "missing"):
        with pytest.raises(ModelNotFoundError, match=r"give a file that python -m part"):
            fashion_nets.load(tmp_path / f"{name}.safetensors")


def test_an_unknown_network_is_named():
    with pytest.raises(ModelNotFoundError, match="use one of fashion-resnet"):
        fashion_nets.build("alexnet")


@pytest.fixture(scope="module")
def job(images, tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("models") / "two-classes"
    spec = "tests.partition.test_attention_training:two_classes"
    return train_attention.open_job(spec, str(images), out, epochs=1, seed=0)


def test_the_command_leaves_a_table_and_graphs_that_run(job):
    folder = job.folder
    taken = [p for p in folder.split_points if train_attention.takes_attention(p, 2)]
    point = taken[-1]
    table = train_attention.run(job, "python -m partition.train_attention", only=[point.name])
    assert AccuracyTable.load(folder.path, folder.fingerprint) == table
    split_names = [p.name for p in folder.split_points if len(p.shapes) == 1]
    assert list(dict.fromkeys(row.split for row in table.rows)) == split_names
    assert table.lookup("output", 0, 8).wire_bytes == 0
    assert table.lookup("input", 1, 8).accuracy == table.whole_accuracy
    assert list(table.appeals) == [point.name]
    x = np.random.default_rng(0).normal(size=(1, *point.shapes[0][1:])).astype(np.float32)
    row = table.lookup(point.name, 0.5, 4)
    logits = AttentionRuntime(folder.path, point).both(x, row.xi, row.bits, row.edge_weight)
    assert logits.shape == (1, 2)
    assert np.isfinite(logits).all()


def test_rankings_are_compared_at_equal_bytes(job):
    point = next(p for p in job.folder.split_points if train_attention.takes_attention(p, 2))
    result = rankings.compare(job, point.name, [0], n_train=64)
    assert set(result["accuracy"]) == set(training.RANKINGS)
    assert len(result["wire_bytes"]) == len(result["xi"])
    json.dumps(result)
    with pytest.raises(PartitionError, match="no split point 'absent': choose from input"):
        rankings.compare(job, "absent", [0], n_train=64)


def test_paired_differences_have_intervals():
    rng = np.random.default_rng(0)
    theirs = rng.random((3, 2, 2000)) < 0.8
    ours = theirs | (rng.random((3, 2, 2000)) < 0.2)
    mean, low, high = rankings.mean_difference(ours, theirs)
    assert 0 < low < mean < high
    assert mean == pytest.approx(0.04, abs=0.01)
    mean, low, high = rankings.mean_difference(theirs, theirs)
    assert (mean, low, high) == (0, 0, 0)


def test_data_that_do_not_fit_the_network_are_told(images, tiny):
    with pytest.raises(PartitionError, match="has 2 classes, tiny-cnn knows 10"):
        train_attention.open_job("tiny-cnn", str(images), tiny.path, epochs=1, seed=0)


def test_a_prepared_folder_of_a_built_in_network_is_that_network(images, tiny):
    """Which stops at the classes, as by its name."""
    with pytest.raises(PartitionError, match="has 2 classes, tiny-cnn knows 10"):
        train_attention.open_job(str(tiny.path), str(images), None, epochs=1, seed=0)


def test_a_prepared_folder_of_another_network_says_what_is_missing(images, tiny, tmp_path):
    folder = shutil.copytree(tiny.path, tmp_path / "rnet")
    cuts = json.loads((folder / "cuts.json").read_text())
    (folder / "cuts.json").write_text(json.dumps(cuts | {"name": "rnet"}))
    wanted = rf"holds no PyTorch network .* give the package\.module:callable .* --out {folder}"
    with pytest.raises(PartitionError, match=wanted):
        train_attention.open_job(str(folder), str(images), None, epochs=1, seed=0)


def test_a_graph_file_cannot_be_trained(images, tiny):
    spec = str(tiny.path / "model.onnx")
    with pytest.raises(PartitionError, match="holds no PyTorch network to train"):
        train_attention.open_job(spec, str(images), tiny.path, epochs=1, seed=0)
