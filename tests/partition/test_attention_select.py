"""Which channels go, what they cost, and that numpy, torch and the codec agree on it."""

from __future__ import annotations

import numpy as np
import pytest

from partition.attention import appeals, select
from partition.codec.codec import Codec
from partition.transport import wire

XI = (0.0, 0.02, 0.125, 0.3, 0.5, 0.97, 1.0)


@pytest.mark.parametrize(("xi", "sent"), [(0, 0), (0.02, 0), (0.125, 3), (0.5, 12), (1, 24)])
def test_the_share_sent_is_rounded_to_channels(xi, sent):
    assert select.sent_count(xi, 24) == sent


@pytest.mark.parametrize("xi", [-0.1, 1.01, float("nan")])
def test_no_other_share_is_taken(xi):
    with pytest.raises(ValueError, match="give a share from 0 to 1"):
        select.sent_count(xi, 24)


@pytest.mark.parametrize("xi", XI)
def test_exactly_the_least_important_channels_go(xi):
    scores = np.random.default_rng(0).normal(size=(5, 24)).astype(np.float32)
    n_sent = select.sent_count(xi, 24)
    kept = select.kept_channels(scores, n_sent)
    assert ((~kept).sum(1) == n_sent).all()
    for row, mask in zip(scores, kept, strict=True):
        if 0 < n_sent < 24:
            assert row[mask].min() > row[~mask].max()


def test_equal_scores_keep_the_first_channels_on_both_sides():
    scores = np.array([[1, 2, 2, 1, 2, 1]], np.float32)
    kept = select.kept_channels(scores, 4)
    assert kept.tolist() == [[False, True, True, False, False, False]]
    torch = pytest.importorskip("torch")
    from partition.attention import modules

    same = modules.kept_mask(torch.from_numpy(scores), torch.tensor([4]))
    assert same.bool().tolist() == kept.tolist()


@pytest.mark.parametrize("bits", select.BITS)
@pytest.mark.parametrize(("side", "n_sent"), [(8, 5), (8, 24), (3, 5), (3, 1), (3, 24)])
def test_torch_numpy_and_the_codec_quantise_alike(bits, side, n_sent):
    x = np.random.default_rng(1).normal(size=(1, 24, side, side)).astype(np.float32)
    sent = np.zeros((1, 24), bool)
    sent[0, np.random.default_rng(2).permutation(24)[:n_sent]] = True
    ours = select.quantised(x[0, sent[0]], bits)
    torch = pytest.importorskip("torch")
    from partition.attention import modules

    trained_on = modules.quantise(torch.from_numpy(x), torch.from_numpy(sent).float(), bits)
    np.testing.assert_allclose(ours, trained_on.numpy()[0, sent[0]], atol=1e-6)
    codec = Codec(bits)
    encoded = codec.encode(x, np.flatnonzero(sent[0]).astype(np.uint16))
    np.testing.assert_allclose(codec.decode(encoded)[0, sent[0]], ours, atol=1e-6)


@pytest.mark.parametrize("bits", select.BITS)
@pytest.mark.parametrize(("channels", "side"), [(24, 8), (48, 4), (7, 5), (10, 16)])
def test_bytes_are_those_of_the_wire(bits, channels, side):
    x = np.random.default_rng(0).normal(size=(1, channels, side, side)).astype(np.float32)
    for n_sent in range(1, channels + 1):
        some = None if n_sent == channels else np.arange(n_sent, dtype=np.uint16)
        encoded = Codec(bits).encode(x, some)
        message = wire.pack_request(wire.Request("0" * 16, 1, (encoded,)))
        assert len(message) == select.message_bytes(n_sent, channels, side * side, bits)
    assert select.message_bytes(0, channels, side * side, bits) == 0


def test_appeals_go_from_the_edge_to_the_cloud():
    rng = np.random.default_rng(0)
    edge, cloud = rng.random(1000) < 0.8, rng.random(1000) < 0.95
    trust = edge + rng.normal(0, 0.5, 1000).astype(np.float32)
    curve = appeals.curve(edge, cloud, trust, trust)
    for line in (curve.predicted, curve.confidence, curve.random, curve.ideal):
        assert (line[0], line[-1]) == pytest.approx((edge.mean(), cloud.mean()))
    middle = len(appeals.SHARES) // 2
    assert curve.ideal[middle] > curve.predicted[middle] > curve.random[middle]
    assert (np.array(curve.ideal) >= np.array(curve.predicted)).all()


def test_the_threshold_appeals_as_little_as_it_may():
    edge = np.array([True, True, False, False])
    cloud = np.ones(4, bool)
    trust = np.array([4, 3, 2, 1], np.float32)
    threshold = appeals.threshold_for(edge, cloud, trust, 0.0)
    found = appeals.summary(edge, cloud, trust, threshold)
    assert found["share_of_appeals"] == 0.5
    assert found["accuracy"] == 1.0
    assert appeals.threshold_for(cloud, cloud, trust, 0.0) == float("-inf")
