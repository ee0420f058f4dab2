"""Routes, deadlines and the way back to the edge."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.edge.pipeline import Route, SplitPipeline
from partition.errors import (
    CloudError,
    CloudUnavailableError,
    DeadlineExceededError,
    HopelessError,
    PartitionError,
)
from partition.model.runtime import SplitRuntime
from partition.prepare.build import prepare
from partition.server.cloud_server import CloudServer

DEADLINE_S = 5.0


class CountingRuntime(SplitRuntime):
    """Counts what ran here."""

    def __init__(self, folder):
        super().__init__(folder)
        self.heads, self.tails = 0, 0

    def head(self, point, x):
        self.heads += 1
        return super().head(point, x)

    def tail(self, point, tensors):
        self.tails += 1
        return super().tail(point, tensors)


class SlowClient:
    """A cloud that is always late by as much as it was given."""

    def __init__(self, expected_s=math.inf):
        self.deadlines_s = []
        self._expected_s = expected_s

    def expected_s(self, point, message_bytes):
        assert message_bytes == point.wire_bytes
        return self._expected_s

    def check(self, point, message_bytes, deadline_s):
        """Everything is worth sending."""

    def infer(self, point, encoded, deadline_s, host=nullcontext):
        self.deadlines_s.append(deadline_s)
        time.sleep(min(deadline_s, 0.1))
        raise DeadlineExceededError("late")


def close(logits, whole):
    return np.abs(logits - whole).max() <= 0.05 * np.abs(whole).max()


def test_every_route_gives_the_networks_answer(tiny, runtime, image, server):
    whole = runtime.whole((image,))[0]
    with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
        pipeline = SplitPipeline(tiny, runtime, client)
        for point in tiny.split_points:
            result = pipeline.infer(image, Route(point.index), DEADLINE_S)
            assert close(result.logits, whole)
            assert result.fallback is None
            assert result.served_by == ("edge" if point.is_output else "cloud")
            assert 0 < result.edge_s + result.codec_s + result.away_s <= result.latency_s
            if result.reply is not None:
                assert 0 < result.reply.compute_s < result.away_s


def test_edge_only_asks_nobody(tiny, runtime, image):
    result = SplitPipeline(tiny, runtime).infer(image, Route(len(tiny.split_points) - 1), 1.0)
    np.testing.assert_array_equal(result.logits, runtime.whole((image,))[0])
    assert (result.served_by, result.fallback, result.reply) == ("edge", None, None)


def test_without_a_cloud_every_other_route_falls_back(tiny, runtime, image):
    pipeline = SplitPipeline(tiny, runtime)
    for split in range(len(tiny.split_points) - 1):
        result = pipeline.infer(image, Route(split), DEADLINE_S)
        assert result.fallback == "no cloud"
        np.testing.assert_allclose(result.logits, runtime.whole((image,))[0], rtol=1e-4, atol=1e-6)


def test_the_fallback_goes_on_from_the_heads_tensor(tiny, image):
    runtime = CountingRuntime(tiny)
    SplitPipeline(tiny, runtime).infer(image, Route(1), DEADLINE_S)
    assert (runtime.heads, runtime.tails) == (1, 1)


def test_a_server_that_dies_and_comes_back_is_used_again(tiny, runtime, image):
    with CloudServer(tiny, runtime) as server:
        address = f"127.0.0.1:{server.port}"
        client = CloudClient(address, tiny)
        pipeline = SplitPipeline(tiny, runtime, client)
        pipeline.warm_up()
        assert pipeline.infer(image, Route(1), DEADLINE_S).served_by == "cloud"
    deadline_s = 0.5
    for _ in range(3):
        result = pipeline.infer(image, Route(1), deadline_s)
        assert result.served_by == "edge"
        assert result.fallback
        assert result.latency_s < deadline_s
    with CloudServer(tiny, runtime, address):
        give_up_s = time.monotonic() + 10
        while pipeline.infer(image, Route(1), DEADLINE_S).served_by == "edge":
            assert time.monotonic() < give_up_s
            time.sleep(0.05)
    client.close()


def test_a_late_cloud_costs_no_more_than_the_deadline(tiny, runtime, image):
    client = SlowClient()
    pipeline = SplitPipeline(tiny, runtime, client)
    pipeline.warm_up()
    result = pipeline.infer(image, Route(1), 0.08)
    assert result.fallback == "late"
    assert result.served_by == "edge"
    assert 0 < client.deadlines_s[0] < 0.08
    assert result.away_s >= client.deadlines_s[0]
    np.testing.assert_allclose(result.logits, runtime.whole((image,))[0], rtol=1e-4, atol=1e-6)


class ModelledTimer:
    """Says how long finishing takes, as a board's model does at its clocks."""

    def __init__(self, finish_s):
        self.finish_s = finish_s

    @contextmanager
    def edge(self, route):
        yield

    fallback = edge

    def fallback_s(self, route):
        return self.finish_s

    def host(self):
        return nullcontext()


def test_the_first_run_of_a_session_says_nothing_of_the_next(tiny, image):
    built = set()

    class SlowToBuild(SplitRuntime):
        def tail(self, point, tensors):
            if point.index not in built:
                built.add(point.index)
                time.sleep(0.08)
            return super().tail(point, tensors)

    client = SlowClient()
    pipeline = SplitPipeline(tiny, SlowToBuild(tiny), client, ModelledTimer(0.01))
    pipeline.warm_up()
    pipeline.infer(image, Route(1), 0.1)
    assert client.deadlines_s[0] > 0.07


@pytest.mark.parametrize(
    ("finish_s", "expected_s", "waits"),
    [
        (0.02, math.inf, 0.0655),  # the board still makes it
        (10.0, math.inf, 10.0),  # it does not: as long as that would take
        (0.05, 0.04, 0.064),  # the answer is about to come
        (0.05, 0.2, 0.0295),  # it would be late
    ],
)
def test_who_waits_how_long(tiny, runtime, image, finish_s, expected_s, waits):
    client = SlowClient(expected_s)
    timer = ModelledTimer(finish_s)
    pipeline = SplitPipeline(tiny, runtime, client, timer, clock=lambda: 0.0)
    pipeline.infer(image, Route(1), 0.09)
    assert client.deadlines_s == pytest.approx([waits])


def test_other_clocks_are_known_before_they_are_met(tiny, runtime, image):
    client, timer = SlowClient(), ModelledTimer(1e-3)
    pipeline = SplitPipeline(tiny, runtime, client, timer)
    pipeline.warm_up()
    pipeline.infer(image, Route(1), 0.09)
    timer.finish_s = 10.0
    pipeline.infer(image, Route(1), 0.09)
    quick, slow = client.deadlines_s
    assert quick < 0.09 < slow


def test_a_deadline_already_over_is_waited_for_no_longer_than_finishing_takes(tiny, runtime, image):
    client = SlowClient()
    pipeline = SplitPipeline(tiny, runtime, client, ModelledTimer(0.03))
    assert pipeline.infer(image, Route(1), 0.0).served_by == "edge"
    assert client.deadlines_s == pytest.approx([0.03], rel=0.1)


def test_the_edge_timer_wraps_head_and_fallback_tail(tiny, runtime, image):
    calls = []

    class Timer:
        @contextmanager
        def edge(self, route):
            calls.append(("edge", route.split))
            yield
            time.sleep(0.02)

        @contextmanager
        def fallback(self, route):
            calls.append(("fallback", route.split))
            yield
            time.sleep(0.03)

        def fallback_s(self, route):
            return None

        def host(self):
            return nullcontext()

    result = SplitPipeline(tiny, runtime, edge_timer=Timer()).infer(image, Route(2), DEADLINE_S)
    assert calls == [("edge", 2), ("fallback", 2)]
    assert result.edge_s >= 0.05
    assert result.latency_s >= result.edge_s


class HostTimer(ModelledTimer):
    """Takes so much longer around each piece of the processor's own work."""

    SLOWER_S = 0.02

    def __init__(self):
        super().__init__(None)
        self.n_pieces = 0

    @contextmanager
    def host(self):
        self.n_pieces += 1
        yield
        time.sleep(self.SLOWER_S)


def test_the_processors_own_work_is_wrapped_and_told_apart(tiny, runtime, image, server):
    """Preparing, encoding, packing, unpacking; neither the network nor the wait for the cloud."""
    timer = HostTimer()
    with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
        client.connect()
        pipeline = SplitPipeline(tiny, runtime, client, timer)
        pipeline.warm_up()
        assert timer.n_pieces == 0
        result = pipeline.infer(lambda: (image,), Route(1), DEADLINE_S)
    assert (result.fallback, timer.n_pieces) == (None, 4)
    assert result.host_s >= 4 * timer.SLOWER_S
    assert result.codec_s >= timer.SLOWER_S
    prepared_s, packed_s = timer.SLOWER_S, 2 * timer.SLOWER_S
    parts_s = result.edge_s + result.codec_s + result.away_s
    assert parts_s + prepared_s + packed_s <= result.latency_s


def test_inputs_are_prepared_within_the_deadline_of_their_request(tiny, runtime, image):
    timer = HostTimer()
    whole = Route(len(tiny.split_points) - 1)
    result = SplitPipeline(tiny, runtime, None, timer).infer(lambda: (image,), whole, DEADLINE_S)
    np.testing.assert_array_equal(result.logits, runtime.whole((image,))[0])
    assert result.latency_s >= result.edge_s + result.host_s
    assert result.host_s >= timer.SLOWER_S
    assert SplitPipeline(tiny, runtime).infer(image, whole, DEADLINE_S).host_s == 0.0


@pytest.mark.parametrize("split", [-1, 99])
def test_an_unknown_split_point_is_named(tiny, runtime, image, split):
    with pytest.raises(PartitionError, match=f"no split point {split}"):
        SplitPipeline(tiny, runtime).infer(image, Route(split), 1.0)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_cut_tensor_that_is_not_finite_stays_on_the_edge(
    tiny, runtime, image, server, caplog, value
):
    image[0, 0, 0, 0] = value
    with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
        pipeline = SplitPipeline(tiny, runtime, client)
        for _ in range(2):
            result = pipeline.infer(image, Route(0), DEADLINE_S)
            assert result.served_by == "edge"
            assert "holds NaN, infinity" in result.fallback
            np.testing.assert_allclose(result.logits, runtime.whole((image,))[0], 1e-4, 1e-5)
    assert len(caplog.messages) == 1
    assert "finished here" in caplog.messages[0]


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_on_every_route_the_answer_is_the_networks(tiny, runtime, image, server, value):
    image[0, 1] = value
    whole = runtime.whole((image,))[0]
    tolerance = 0.05 * np.abs(whole[np.isfinite(whole)]).max(initial=1.0)
    with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
        pipeline = SplitPipeline(tiny, runtime, client)
        for point in tiny.split_points[:-1]:
            (tensor,) = runtime.head(point, (image,))
            result = pipeline.infer(image, Route(point.index), DEADLINE_S)
            assert result.served_by == ("cloud" if np.isfinite(tensor).all() else "edge")
            np.testing.assert_allclose(result.logits, whole, atol=tolerance)
        assert client.refusal is None


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """Adds a mask to what a layer gives, and takes the largest."""
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Add", ["a", "mask"], ["b"]),
        helper.make_node("ReduceMax", ["b"], ["y"], axes=[2], keepdims=0),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "masked",
        [
            value("x", TensorProto.FLOAT, ["N", 16, 40]),
            value("mask", TensorProto.FLOAT, ["N", 1, 40]),
        ],
        [value("y", TensorProto.FLOAT, ["N", 16])],
    )
    path = tmp_path_factory.mktemp("masked") / "masked.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return prepare(str(path), path.parent / "out")


def test_a_mask_of_infinity_crosses_as_it_is_and_a_feature_map_does_not(masked):
    runtime = SplitRuntime(masked)
    x = np.random.default_rng(0).normal(size=(1, 16, 40)).astype(np.float32)
    mask = np.where(np.arange(40) < 25, 0, -np.inf).astype(np.float32)[None, None]
    with CloudServer(masked) as server, CloudClient(f"127.0.0.1:{server.port}", masked) as client:
        pipeline = SplitPipeline(masked, runtime, client)
        for inputs, place in (((x, mask), "cloud"), ((x + mask, mask), "edge")):
            result = pipeline.infer(inputs, Route(0), DEADLINE_S)
            assert result.served_by == place, result.fallback
            np.testing.assert_allclose(result.logits, runtime.whole(inputs)[0], atol=0.02)


def test_a_deadline_without_end_leaves_the_cloud_its_time(tiny, runtime, image, server):
    with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
        result = SplitPipeline(tiny, runtime, client).infer(image, Route(1), math.inf)
        assert (result.served_by, result.fallback) == ("cloud", None)
        result = SplitPipeline(tiny, runtime, client).infer(image, Route(1), math.nan)
        assert "deadline of nan" in result.fallback


class OtherAnswers(CloudServer):
    """A cloud that changes its answers."""

    change = None

    def _answer(self, request, due_s, peer):
        return self.change(super()._answer(request, due_s, peer))


def _with_value(value):
    def change(outputs):
        changed = outputs[0].copy()
        changed.flat[0] = value
        return (changed, *outputs[1:])

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda outputs: (outputs[0][:, :3],), r"float32 \(1, 3\) where the network gives"),
        (lambda outputs: (outputs[0].astype(np.float16),), r"float16 \(1, 10\) where"),
        (lambda outputs: (outputs[0].astype(np.int64),), r"int64 \(1, 10\) where"),
        (lambda outputs: outputs * 2, r"float32 \(1, 10\), float32 \(1, 10\) where"),
        (lambda outputs: (outputs[0][0],), r"float32 \(10,\) where"),
        (_with_value(np.inf), "cloud's answer holds inf, this board's had none"),
        (_with_value(np.nan), "cloud's answer holds NaN, this board's had none"),
    ],
)
def test_an_answer_that_is_none_of_the_networks_goes_nowhere(
    tiny, runtime, image, caplog, change, reason
):
    with (
        OtherAnswers(tiny, runtime) as server,
        CloudClient(f"127.0.0.1:{server.port}", tiny) as client,
    ):
        pipeline = SplitPipeline(tiny, runtime, client)
        server.change = change
        for _ in range(3):
            result = pipeline.infer(image, Route(1), DEADLINE_S)
            assert result.served_by == "edge"
            assert re.search(reason, result.fallback)
            assert "broken" not in result.fallback
            np.testing.assert_allclose(result.logits, runtime.whole((image,))[0], 1e-4, 1e-5)
        assert len(caplog.messages) == 1  # told once
        server.change = lambda outputs: outputs
        assert pipeline.infer(image, Route(1), DEADLINE_S).served_by == "cloud"
        if "where" in reason:
            assert "as the network does again" in caplog.messages[1]


@pytest.fixture(scope="module")
def logarithm(tmp_path_factory):
    """Gives -inf for a picture without light in a channel, NaN for one below 0."""
    nodes = [
        helper.make_node("GlobalMaxPool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Log", ["flat"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "logarithm",
        [value("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [value("y", TensorProto.FLOAT, ["N", 3])],
    )
    path = tmp_path_factory.mktemp("logarithm") / "logarithm.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return prepare(str(path), path.parent / "out")


@pytest.mark.parametrize(("value", "name"), [(0.0, "-inf"), (-1.0, "NaN")])
def test_special_numbers_that_the_network_gives_are_its_answer(logarithm, caplog, value, name):
    runtime = SplitRuntime(logarithm)
    dark, bright = (np.full((1, 3, 8, 8), fill, np.float32) for fill in (value, 1.0))
    with (
        CloudServer(logarithm, runtime) as server,
        CloudClient(f"127.0.0.1:{server.port}", logarithm) as client,
    ):
        pipeline = SplitPipeline(logarithm, runtime, client)
        for i, x in enumerate([bright, dark, dark, bright, dark]):
            result = pipeline.infer(x, Route(0), DEADLINE_S)
            np.testing.assert_array_equal(result.logits, runtime.whole((x,))[0])
            assert result.served_by == ("edge" if i == 1 else "cloud")
            assert client.refusal is None
        (reason,) = caplog.messages
        assert reason == f"the cloud's answer holds {name}, this board's had none: finished here"
        reply = client.infer(logarithm.split_points[0], (Codec().encode(dark),), DEADLINE_S)
        np.testing.assert_array_equal(reply.outputs[0], runtime.whole((dark,))[0])


@pytest.mark.parametrize("error", [HopelessError("would take too long"), CloudError("gone")])
def test_the_result_says_whether_an_estimate_alone_spoke_against_sending(
    tiny, runtime, image, monkeypatch, error
):
    client = SlowClient()

    def refuse(point, message_bytes, deadline_s):
        raise error

    late = SplitPipeline(tiny, runtime, client).infer(image, Route(1), 0.01)
    assert late.failure is DeadlineExceededError  # it was sent
    monkeypatch.setattr(client, "check", refuse)
    result = SplitPipeline(tiny, runtime, client).infer(image, Route(1), DEADLINE_S)
    assert result.fallback == str(error)
    assert result.failure is type(error)


def test_a_client_that_refuses_does_not_stop_the_pipeline(tiny, runtime, image, monkeypatch):
    class Refusing:
        def expected_s(self, point, message_bytes):
            return math.inf

        def check(self, point, message_bytes, deadline_s):
            raise CloudUnavailableError("gone")

    pipeline = SplitPipeline(tiny, runtime, Refusing())
    monkeypatch.setattr(pipeline, "_encoded", None)  # of what is not sent, nothing is encoded
    result = pipeline.infer(image, Route(1), DEADLINE_S)
    assert (result.served_by, result.fallback) == ("edge", "gone")


def test_boards_and_servers_need_no_torch(tiny):
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import partition.server.cloud_server, partition.edge.pipeline, partition.data.images\n"
        "import partition.profile.measure\n"
        "import numpy as np\n"
        "from partition.model.folder import ModelFolder\n"
        "folder = ModelFolder.open(sys.argv[1])\n"
        "runtime = partition.server.cloud_server.SplitRuntime(folder)\n"
        "x = np.zeros(folder.input_shape, np.float32)\n"
        "with partition.server.cloud_server.CloudServer(folder, runtime) as server:\n"
        "    client = partition.edge.pipeline.CloudClient(f'127.0.0.1:{server.port}', folder)\n"
        "    pipeline = partition.edge.pipeline.SplitPipeline(folder, runtime, client)\n"
        "    print(pipeline.infer(x, partition.edge.pipeline.Route(1), 5.0).served_by)\n"
        "    client.close()\n"
    )
    command = [sys.executable, "-c", script, str(tiny.path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout.strip()) == (0, "cloud"), result.stderr
