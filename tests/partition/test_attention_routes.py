"""A network with attention from its folder to a real server and back."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from partition.attention import select
from partition.data import datasets
from partition.data.datasets import FASHION_MNIST_FOLDER
from partition.edge.client import CloudClient
from partition.edge.pipeline import SplitPipeline
from partition.errors import ModelFolderError, ModelMismatchError, PartitionError
from partition.model.accuracy_table import AccuracyTableError
from partition.model.folder import ModelFolder
from partition.model.routes import Route
from partition.model.runtime import SplitRuntime
from partition.server.cloud_server import CloudServer
from partition.transport import wire

torch = pytest.importorskip("torch")

from partition import train_attention  # noqa: E402

pytestmark = pytest.mark.skipif(
    not FASHION_MNIST_FOLDER.is_dir(), reason="apt-get install dataset-fashion-mnist"
)
CUT = "blocks.2.project.0"
N_TEST = 300
DEADLINE_S = 10.0


@pytest.fixture(scope="module")
def data():
    whole = datasets.load_fashion_mnist()
    return replace(
        whole,
        train=whole.train.first(1500),
        validation=whole.validation.first(300),
        test=whole.test.first(N_TEST),
    )


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory) -> ModelFolder:
    """A small network whose attention was trained on few images, badly."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("models") / "fashion-mobilenet"
    job = train_attention.open_job("fashion-mobilenet", "fashion-mnist", out, epochs=1, seed=0)
    train_attention.run(replace(job, data=data), "python -m partition.train_attention", [CUT])
    return ModelFolder.open(out)


@pytest.fixture
def copy(folder, tmp_path):
    shutil.copytree(folder.path, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def images(folder, data):
    prepared = folder.preprocess
    return datasets.preprocess(data.test.images, prepared.mean, prepared.std)


@pytest.fixture(scope="module")
def split_runtime(folder):
    return SplitRuntime(folder)


@pytest.fixture(scope="module")
def point(folder):
    return next(point for point in folder.split_points if point.name == CUT)


def accuracy_of(pipeline, route, images, labels):
    results = [pipeline.infer(x[None], route, DEADLINE_S) for x in images]
    hits = [int(r.logits.argmax()) == label for r, label in zip(results, labels, strict=True)]
    return float(np.mean(hits)), results


def test_every_route_reaches_its_accuracy_over_a_real_server(folder, data, images, split_runtime):
    with (
        CloudServer(folder) as server,
        CloudClient(f"127.0.0.1:{server.port}", folder) as client,
    ):
        client.connect()
        sizes, infer = set(), client._stub.infer

        def recorded(message, **options):
            sizes.add(len(message))
            return infer(message, **options)

        client._stub.infer = recorded
        pipeline = SplitPipeline(folder, split_runtime, client)
        for option in folder.routes:
            sizes.clear()
            found, results = accuracy_of(pipeline, option.route, images, data.test.labels)
            assert sizes == ({option.wire_bytes} if option.wire_bytes else set()), option.name
            assert {r.fallback for r in results} == {None}
            assert {r.served_by for r in results} == {"cloud" if option.wire_bytes else "edge"}
            # The same images: all that may differ is rounding.
            assert found == pytest.approx(option.accuracy, abs=2 / N_TEST), option.name
            low, high = option.interval
            assert low <= found <= high


def test_the_answer_is_the_fusion_of_both_sides(folder, point, images, split_runtime):
    row = folder.attention.table.lookup(CUT, 0.5, 4)
    pipeline = SplitPipeline(folder, split_runtime, LocalCloud(folder))
    half = pipeline._halves[point.index].runtime
    for x in images[:5]:
        (tensor,) = split_runtime.head(point, (x[None],))
        expected = half.both(tensor, 0.5, 4, row.edge_weight)
        found = pipeline.infer(x[None], Route(point.index, 0.5, 4), DEADLINE_S)
        np.testing.assert_allclose(found.logits, expected, atol=1e-4)


class LocalCloud:
    """The server's tail without a server."""

    link = None

    def __init__(self, folder):
        from partition.server.model_store import ModelStore

        self.folder, self.store = folder, ModelStore([folder])

    def expected_s(self, point, message_bytes):
        return 0.0

    def check(self, point, message_bytes, deadline_s):
        """Everything is worth sending."""

    def infer(self, point, encoded, deadline_s, host=nullcontext):
        tail = self.store.tail(self.folder.fingerprint, point.index)
        tail.check(encoded)
        (outputs,) = tail.run([encoded])
        return wire.Reply(outputs, 0.0, 0.0, 0)


def test_without_an_answer_the_light_branch_sees_all_channels(
    folder, data, point, images, split_runtime
):
    pipeline = SplitPipeline(folder, split_runtime)
    pipeline.warm_up()
    found, results = accuracy_of(pipeline, Route(point.index, 0.5, 4), images, data.test.labels)
    assert {r.fallback for r in results} == {"no cloud"}
    option = next(o for o in folder.routes if o.route.split == point.index and 0 < o.route.xi < 1)
    assert found == pytest.approx(option.fallback_accuracy, abs=2 / N_TEST)


def test_routes_are_split_points_by_depth_and_what_nothing_beats_at_them(folder):
    options = folder.routes
    plain = [o for o in options if o.route == Route(o.route.split)]
    assert [o.name for o in plain] == [p.name for p in folder.split_points]
    assert [o.route.split for o in options] == sorted(o.route.split for o in options)
    assert (options[0].name, options[-1].name) == ("input", "output")
    assert len({o.name for o in options}) == len(options)
    assert not any(" " in o.name for o in options)
    attended = [o for o in options if o.name.startswith(CUT) and o.route.xi < 1]
    assert {o.route.xi for o in attended} >= {0.0}
    assert len(attended) > 2
    sent = [o.wire_bytes for o in attended]
    assert sent == sorted(sent, reverse=True)
    light = select.sent_count(0.0, 40)
    assert light == attended[-1].wire_bytes == attended[-1].cloud_flops
    for option in attended:
        head = folder.split_points[option.route.split].head
        row = folder.attention.table.lookup(CUT, option.route.xi, option.route.bits)
        assert (option.edge - head).flops == pytest.approx(row.edge_flops - head.flops, rel=0.1)
        assert 0 < option.fallback.flops < option.edge.flops - head.flops
        assert option.edge.kernels > head.kernels


def test_a_folder_without_attention_has_its_split_points_as_routes(folder, tiny):
    assert [o.route for o in tiny.routes] == [Route(i) for i in range(len(tiny.split_points))]
    assert {(o.accuracy, o.fallback_accuracy) for o in tiny.routes} == {(None, None)}
    assert not tiny.accuracy_is_known
    judged = replace(tiny, fidelity=(0.9,) * len(tiny.split_points), measure="boxes")
    assert {(o.accuracy, o.fallback_accuracy) for o in judged.routes} == {(0.9, 1.0)}
    assert len(folder.plain.routes) == len(folder.split_points)
    assert ModelFolder.open_network(folder.path) == folder.plain
    assert folder.cut_list_fingerprint != folder.plain.cut_list_fingerprint


def test_beside_measured_accuracies_a_cut_of_unknown_accuracy_is_no_route(folder):
    table, cut = folder.attention.table, folder.split_points[2].name
    lacking = structs.replace(table, rows=tuple(row for row in table.rows if row.split != cut))
    attention = replace(folder.attention, table=lacking)
    names = [option.name for option in replace(folder, attention=attention).routes]
    assert cut in {option.name for option in folder.routes}
    assert cut not in names
    known = replace(
        folder,
        attention=attention,
        fidelity=(0.5,) * len(folder.split_points),
        measure="top-1",
    )
    (found,) = (option for option in known.routes if option.name == cut)
    assert found.accuracy == pytest.approx(0.5 * table.whole_accuracy)
    other = replace(known, measure="relative")  # nothing to multiply an accuracy with
    assert [option.name for option in other.routes] == names


def test_a_table_without_the_input_is_refused(folder):
    table = folder.attention.table
    lacking = structs.replace(table, rows=tuple(r for r in table.rows if r.split != "input"))
    bare = replace(folder, attention=replace(folder.attention, table=lacking))
    with pytest.raises(AccuracyTableError, match=r"lacks 'input': run python -m partition\.train_"):
        assert bare.routes


@pytest.mark.parametrize(
    ("route", "message"),
    [
        (Route(1, 0.5), "has no attention, so xi is 1 there, not 0.5"),
        (Route(99, 0.5), "no split point 99"),
    ],
)
def test_a_share_without_attention_is_refused(folder, images, split_runtime, route, message):
    with pytest.raises(PartitionError, match=message):
        SplitPipeline(folder, split_runtime).infer(images[:1], route, DEADLINE_S)


def test_a_share_that_was_not_measured_is_refused(folder, point, images, split_runtime):
    with pytest.raises(AccuracyTableError, match=r"not measured at xi 0\.55, 8 bits"):
        SplitPipeline(folder, split_runtime).infer(images[:1], Route(point.index, 0.55), DEADLINE_S)


def test_a_server_with_other_attention_or_none_is_found_out(folder, copy):
    scores = next(copy.glob("attention/*/scores.onnx"))  # which a server does not load
    scores.write_bytes(scores.read_bytes() + b"\0")
    other = ModelFolder.open(copy)
    (copy / "accuracy.json").unlink()
    for held in (other, ModelFolder.open(copy)):
        with (
            CloudServer(held) as server,
            CloudClient(f"127.0.0.1:{server.port}", folder) as client,
            pytest.raises(ModelMismatchError, match=folder.fingerprint),
        ):
            client.connect()


@pytest.mark.parametrize("name", ["tail.onnx", "branch.onnx", "scores.onnx", "costs.json"])
def test_a_missing_file_is_named(copy, name):
    next(copy.glob(f"attention/*/{name}")).unlink()
    with pytest.raises(ModelFolderError, match=rf"{name} is missing or corrupt .*train_attention"):
        ModelFolder.open(copy)


def test_a_table_of_another_network_is_told_and_training_starts_afresh(copy):
    path = copy / "accuracy.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": "0" * 16}))
    with pytest.raises(AccuracyTableError, match="is of model 0000000000000000"):
        ModelFolder.open(copy)
    job = train_attention.open_job("fashion-mobilenet", "fashion-mnist", copy, epochs=1, seed=0)
    assert job.folder.attention is None
