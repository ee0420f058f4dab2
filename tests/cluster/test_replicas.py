"""The cloud side behind Ray Serve: clients notice nothing."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import replace

import numpy as np
import pytest

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from partition.errors import CloudError, ModelMismatchError
from partition.model.runtime import SplitRuntime, random_inputs
from tests.conftest import one_sentence

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def port(tiny, local_ray):
    pytest.importorskip("starlette", reason="needs the extra replicas")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = local_ray.popen(
        "partition.server.replicas", "--model", tiny.path, "--port", port, "--replicas", 2,
        "--ray", local_ray.address, "--insecure",
    )  # fmt: skip
    assert "2 replicas" in process.stdout.readline()
    wait_for(tiny, port)
    yield port
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def wait_for(folder, port):
    due_s = time.monotonic() + 60
    while True:
        try:
            with CloudClient(f"127.0.0.1:{port}", folder) as client:
                return client.connect()
        except CloudError:
            assert time.monotonic() < due_s
            time.sleep(0.5)


def ask(folder, port, point):
    inputs = random_inputs(folder)
    runtime = SplitRuntime(folder)
    encoded = tuple(map(Codec().encode, runtime.head(point, inputs)))
    with CloudClient(f"127.0.0.1:{port}", folder) as client:
        answer = client.infer(point, encoded, 10.0).logits
    np.testing.assert_allclose(
        answer, runtime.tail(point, tuple(map(Codec().decode, encoded)))[0], rtol=1e-4, atol=1e-5
    )


def test_tails_answer_as_one_server_would(tiny, port):
    for point in tiny.split_points[:-1]:
        ask(tiny, port, point)


def test_what_a_server_refuses_is_refused_in_its_words(tiny, port):
    other = replace(tiny, fingerprint="0123456789abcdef")
    with CloudClient(f"127.0.0.1:{port}", other) as client, pytest.raises(ModelMismatchError):
        client.connect()


def test_a_killed_replica_is_replaced(tiny, port, local_ray):
    before = local_ray.actors("ServeReplica")
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    due_s = time.monotonic() + 60
    while len(set(local_ray.actors("ServeReplica")) - {before[0]}) < 2:
        assert time.monotonic() < due_s
        time.sleep(0.5)
    wait_for(tiny, port)
    ask(tiny, port, tiny.split_points[0])


def test_without_encryption_it_is_said_and_without_serve_too(tiny, local_ray):
    arguments = ("partition.server.replicas", "--model", tiny.path, "--port", "50999")
    assert "--insecure" in one_sentence(local_ray.run(*arguments))
