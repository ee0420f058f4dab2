"""Split computing over a real link: namespaces, veth, token bucket, and a proxy that delays."""

from __future__ import annotations

import json
import re
import subprocess

import numpy as np
import pytest

from partition.codec.codec import Codec
from partition.edge.client import CloudClient
from tests.partition.delay_proxy import DelayProxy
from tests.partition.netns import CLOUD_ADDRESS, Namespaces

_ROUNDS = 4


class EdgeProcess:
    """The edge in its namespace, asked by lines of JSON."""

    def __init__(self, process):
        self.process = process
        self._read()

    def ask(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self):
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return json.loads(line)


@pytest.fixture(scope="module")
def link():
    with Namespaces() as namespaces:
        yield namespaces


@pytest.fixture(scope="module")
def address(link, lite0):
    options = ("--model", lite0.path, "--listen", f"{CLOUD_ADDRESS}:0", "--insecure")
    server = link.popen(link.cloud, "partition.server", *options)
    found = re.search(rf"{CLOUD_ADDRESS}:\d+", server.stdout.readline())
    assert found, server.stderr.read()
    return found[0]


@pytest.fixture(scope="module")
def edge(link, address, lite0):
    link.shape(1e9)
    return EdgeProcess(link.popen(link.edge, "tests.partition.link_edge", lite0.path, address))


@pytest.mark.parametrize(("rate_mbps", "split"), [(0.5, 3), (2, 3), (10, 1), (50, 0)])
def test_the_rate_is_estimated_on_slow_and_fast_links(link, edge, rate_mbps, split):
    link.shape(1e6 * rate_mbps)
    shown_bps = []
    # A loaded machine holds answers up and lets them come at once, for seconds on end.
    for _ in range(_ROUNDS):
        rates_bps = edge.ask(requests=10, split=split)["rates_bps"]
        shown_bps.append(np.median(rates_bps[5:]))
        if shown_bps[-1] == pytest.approx(1e6 * rate_mbps, rel=0.3):
            return
    pytest.fail(f"none of {shown_bps} is {1e6 * rate_mbps}")


@pytest.mark.parametrize("rates_mbps", [(20, 2), (2, 20)])
def test_a_step_of_the_rate_is_recognised_within_three_requests(link, edge, rates_mbps):
    link.shape(1e6 * rates_mbps[0])
    edge.ask(requests=8, split=1)
    link.shape(1e6 * rates_mbps[1])
    rates_bps = edge.ask(requests=3, split=1)["rates_bps"]
    assert rates_bps[-1] == pytest.approx(1e6 * rates_mbps[1], rel=0.3), rates_bps


def test_namespaces_and_processes_are_gone_afterwards():
    with Namespaces() as namespaces:
        process = namespaces.popen(namespaces.cloud, "http.server")
        names = (namespaces.edge, namespaces.cloud)
    assert process.poll() is not None
    listed = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert not any(name in listed for name in names)


class TestDelayAndLoss:
    """Over the proxy, on this machine's own loopback."""

    @pytest.fixture
    def encoded(self, tiny, runtime, image):
        return tuple(Codec().encode(t) for t in runtime.head(tiny.split_points[0], (image,)))

    def test_the_round_trip_is_the_delay_both_ways(self, tiny, server, encoded):
        with (
            DelayProxy(("127.0.0.1", server.port), delay_s=0.03) as proxy,
            CloudClient(f"127.0.0.1:{proxy.port}", tiny) as client,
        ):
            client.connect()
            assert client.probe().rtt_s == pytest.approx(0.06, rel=0.3)
            for _ in range(5):
                client.infer(tiny.split_points[0], encoded, 2.0)
            assert client.link.rtt_s == pytest.approx(0.06, rel=0.3)

    def test_lost_packets_delay_answers_and_lose_none(self, tiny, server, runtime, encoded):
        expected = runtime.tail(tiny.split_points[0], tuple(map(Codec().decode, encoded)))[0]
        with (
            DelayProxy(("127.0.0.1", server.port), delay_s=0.002, loss=0.1) as proxy,
            CloudClient(f"127.0.0.1:{proxy.port}", tiny) as client,
        ):
            for _ in range(40):
                reply = client.infer(tiny.split_points[0], encoded, 5.0)
                np.testing.assert_allclose(reply.outputs[0], expected, rtol=1e-4, atol=1e-5)
