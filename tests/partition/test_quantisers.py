"""A codec is a module and a line: everything that names one reads the list."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from partition.attention.select import message_bytes
from partition.codec import quantisers
from partition.codec.codec import Codec
from partition.codec.message_sizes import request_bytes
from partition.codec.quantise import Quantiser
from partition.edge.client import CloudClient
from partition.edge.pipeline import Route, SplitPipeline
from partition.errors import WireError
from partition.model import routes
from partition.model.accuracy_table import (
    ACCURACY_FILE,
    AccuracyRow,
    AccuracyTable,
    AccuracyTableError,
)
from partition.model.cost import Cost
from partition.placement.cluster import Cluster
from partition.placement.errors import ClusterError
from partition.placement.solver.problem import build_problem
from partition.stages.errors import StageError
from partition.stages.session import StageSession, StageSpec
from partition.stages.stage_model import CutCodec
from partition.transport import wire

CLUSTER = """
schema_version = 1
codec = "int2"
[switch]
rate_bps = 1e8
[[devices]]
name = "pi"
count = 2
memory_bytes = 1e9
flops_per_s = 5e9
codec_bytes_per_s = 1e9
"""
SESSION = StageSession(
    number=1,
    fingerprint="0" * 16,
    codec="int2",
    queue_depth=1,
    hops=(StageSpec(("a:2",), 0, 1),),
    sink="a:1",
)


def _pack(codes):
    codes = np.pad(codes, ((0, 0), (0, -codes.shape[1] % 4)))
    parts = codes.reshape(len(codes), -1, 4) << np.array([0, 2, 4, 6], np.uint8)
    return np.bitwise_or.reduce(parts, axis=2)


def _unpack(payload, n_values):
    codes = payload[:, :, None] >> np.array([0, 2, 4, 6], np.uint8) & 3
    return codes.reshape(len(payload), -1)[:, :n_values]


INT2 = Quantiser(name="int2", bits=2, wire_type=3, pack=_pack, unpack=_unpack)


@pytest.fixture
def int2(monkeypatch):
    monkeypatch.setattr(quantisers, "QUANTISERS", (*quantisers.QUANTISERS, INT2))


def table(tiny, bits):
    def row(point, b, n_bytes):
        xi = 0.0 if point.is_output else 1.0
        return AccuracyRow(point.name, xi, b, 0.9, 0.8, 0.95, 0.9, 0.0, 4, 4, n_bytes, 4000, 10, 10)

    whole = [row(point, 8, 1000 - i) for i, point in enumerate(tiny.split_points)]
    rows = (*whole, row(tiny.split_points[1], bits, 250))
    return AccuracyTable(tiny.name, tiny.fingerprint, "none", "none", 9, 9, 0.9, 0.9, rows)


def test_no_two_share_a_name_a_number_of_bits_or_a_wire_type():
    for each in ("name", "bits", "wire_type"):
        found = [getattr(quantiser, each) for quantiser in quantisers.QUANTISERS]
        assert len(set(found)) == len(found)
    assert all(0 < quantiser.wire_type < 16 for quantiser in quantisers.QUANTISERS)
    assert quantisers.codec_names() == ("none", "int8", "int4")


@pytest.mark.usefixtures("int2")
@pytest.mark.parametrize("shape", [(2, 3, 7, 7), (1, 5, 3), (2, 9)])
def test_another_one_crosses_in_a_message(shape):
    tensor = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for channels in (None, np.array([0, 2], np.uint16)):
        encoded = Codec(2).encode(tensor, channels)
        message = wire.pack_request(wire.Request("0" * 16, 1, (encoded,)))
        if channels is None:
            assert len(message) == request_bytes((shape,), 2)
        (received,) = wire.unpack_request(message).tensors
        decoded = Codec().decode(received)
        kept = slice(None) if channels is None else channels
        error = np.abs(decoded[:, kept] - tensor[:, kept]).max()
        assert 0 < error <= 0.51 * encoded.scale.max()


def test_what_is_not_listed_is_refused_everywhere(tiny, tmp_path):
    with pytest.raises(WireError, match="codec of 2 bits: choose 8 or 4"):
        Codec(2)
    with pytest.raises(StageError, match="int2"):
        StageSession.unpack(SESSION.pack())
    (tmp_path / "pis.toml").write_text(CLUSTER)
    with pytest.raises(ClusterError, match="use one of none, int8, int4"):
        Cluster.load(tmp_path / "pis.toml")
    table(tiny, 4).save(tmp_path)
    saved = json.loads((tmp_path / ACCURACY_FILE).read_text())
    saved["rows"][1]["bits"] = 2
    (tmp_path / ACCURACY_FILE).write_text(json.dumps(saved))
    with pytest.raises(AccuracyTableError, match="bits is 2"):
        AccuracyTable.load(tmp_path)


@pytest.mark.usefixtures("int2")
def test_another_one_is_known_to_stages_placement_tables_and_routes(tiny, tmp_path):
    assert StageSession.unpack(SESSION.pack()) == SESSION
    tensors = tuple(np.full(shape, 0.5, np.float32) for shape in tiny.cuts[1].shapes)
    packed = CutCodec(tiny, 1, "int2").pack(tensors, 7)
    assert len(packed) == request_bytes(tiny.cuts[1].shapes, 2)
    found = CutCodec(tiny, 1, "int2").tensors(wire.unpack_request(packed))
    np.testing.assert_array_equal(found, tensors)

    (tmp_path / "pis.toml").write_text(CLUSTER)
    problem = build_problem(tiny, Cluster.load(tmp_path / "pis.toml"))
    sizes = [request_bytes(cut.shapes, 2) for cut in tiny.cuts[:-1]]
    assert problem.cut_bytes[:-1].tolist() == sizes
    assert (problem.encode_s[:, 1:-1] > 0).all()

    table(tiny, 2).save(tmp_path)
    trained = SimpleNamespace(table=AccuracyTable.load(tmp_path), cuts={})
    offered = routes.options(tiny.split_points, None, trained)
    point = tiny.split_points[1]
    (option,) = [each for each in offered if each.route.bits == 2]
    assert option.name == f"{point.name}/int2"
    assert option.wire_bytes == request_bytes(point.shapes, 2)
    assert option.edge == point.head != Cost()


@pytest.mark.usefixtures("int2")
def test_another_one_is_served(tiny, runtime, server, image):
    with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
        result = SplitPipeline(tiny, runtime, client).infer(image, Route(1, bits=2), 10.0)
    assert result.served_by == "cloud"


@pytest.mark.usefixtures("int2")
def test_bytes_of_some_channels_follow():
    assert message_bytes(3, 8, 64, 2) == 64 + 3 * 8 + 8 + 3 * 16
