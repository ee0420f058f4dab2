"""Pictures that come as JPEG files: sent as they are, prepared by whoever computes."""

from __future__ import annotations

import io
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from partition.codec.codec import Codec
from partition.data.image_file import MAX_PIXELS, rgb_of_jpeg
from partition.data.images import Picture, load_pictures
from partition.data.pictures import PictureFormat
from partition.edge.client import CloudClient
from partition.edge.pipeline import SplitPipeline
from partition.errors import CloudError, ImageError, WireError
from partition.model.routes import Route
from partition.server.cloud_server import CloudServer
from partition.server.model_store import ModelStore
from partition.transport import wire

DEADLINE_S = 5.0


def jpeg(width=40, height=32, quality=90, **options):
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    pixels = np.stack([x, y, 255 - x], axis=2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


@pytest.fixture
def form(tiny):
    return PictureFormat.of_classifier(tiny.preprocess)


@pytest.fixture
def picture(form):
    file = jpeg()
    return Picture(rgb_of_jpeg(file), form, file)


@pytest.fixture
def whole(runtime, picture):
    return runtime.whole(picture())[0]


@pytest.fixture
def client(tiny, server):
    with CloudClient(f"127.0.0.1:{server.port}", tiny) as client:
        yield client


@pytest.fixture
def sent(client, monkeypatch):
    """Tensors of each request."""
    seen, request = [], client._stub.request

    def recorded(point, tensors):
        seen.append(tensors)
        return request(point, tensors)

    monkeypatch.setattr(client._stub, "request", recorded)
    return seen


def test_the_file_is_sent_and_the_server_prepares_it(tiny, runtime, client, picture, whole, sent):
    result = SplitPipeline(tiny, runtime, client).infer(picture, Route(0), DEADLINE_S)
    assert result.served_by == "cloud"
    np.testing.assert_allclose(result.logits, whole, rtol=1e-5, atol=1e-6)
    ((tensor,),) = sent
    assert tensor.array.tobytes() == picture.file
    assert len(picture.file) < tiny.routes[0].wire_bytes
    assert result.edge_s == 0.0


def test_a_cut_behind_the_input_sends_what_the_board_computed(
    tiny, runtime, client, picture, whole, sent
):
    result = SplitPipeline(tiny, runtime, client).infer(picture, Route(1), DEADLINE_S)
    assert result.served_by == "cloud"
    assert np.abs(result.logits - whole).max() <= 0.05 * np.abs(whole).max()
    assert not isinstance(sent[0][0], wire.Raw)


def test_a_file_that_is_larger_than_the_levels_stays_here(tiny, runtime, client, form, sent):
    file = jpeg(400, 400, quality=100)
    assert len(file) > tiny.routes[0].wire_bytes
    picture = Picture(rgb_of_jpeg(file), form, file)
    SplitPipeline(tiny, runtime, client).infer(picture, Route(0), DEADLINE_S)
    assert not isinstance(sent[0][0], wire.Raw)


def test_without_an_answer_the_board_prepares_it(tiny, runtime, picture, whole):
    for client in (None, CloudClient("127.0.0.1:9", tiny)):
        result = SplitPipeline(tiny, runtime, client).infer(picture, Route(0), DEADLINE_S)
        assert result.served_by == "edge"
        np.testing.assert_allclose(result.logits, whole, rtol=1e-5, atol=1e-6)
        assert result.edge_s > 0.0


def test_a_camera_turned_on_its_side_is_turned_back_on_both_sides(tiny, runtime, client, form):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    file = jpeg(64, 32, exif=exif)
    picture = Picture(rgb_of_jpeg(file), form, file)
    assert picture.image.size == (32, 64)
    result = SplitPipeline(tiny, runtime, client).infer(picture, Route(0), DEADLINE_S)
    assert result.served_by == "cloud"
    np.testing.assert_allclose(result.logits, runtime.whole(picture())[0], rtol=1e-5, atol=1e-6)


DAMAGED = {
    "half of it": jpeg()[: len(jpeg()) // 2],
    "noise": bytes(range(256)) * 2,
    "nothing": b"\0",
    "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize("file", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_refused_and_the_board_answers(tiny, runtime, client, form, whole, file):
    picture = Picture(rgb_of_jpeg(jpeg()), form, file)
    result = SplitPipeline(tiny, runtime, client).infer(picture, Route(0), DEADLINE_S)
    assert result.served_by == "edge"
    assert "JPEG" in result.fallback
    np.testing.assert_allclose(result.logits, whole, rtol=1e-5, atol=1e-6)


def test_a_damaged_file_does_not_spoil_a_batch(tiny, runtime, picture, whole):
    tail = ModelStore([tiny]).tail(tiny.fingerprint, 0)
    good = (wire.Raw(np.frombuffer(picture.file, np.uint8)),)
    levels = tuple(Codec().encode(t) for t in runtime.head(tiny.split_points[0], picture()))
    for tensors in (good, levels):
        tail.check(tensors)
    first, second = tail.run([good, levels])
    np.testing.assert_allclose(first[0], whole, rtol=1e-4, atol=1e-5)
    assert np.abs(second[0] - whole).max() <= 0.05 * np.abs(whole).max()
    with pytest.raises(WireError, match="JPEG"):
        tail.run([good, (wire.Raw(np.zeros(9, np.uint8)),)])


def test_a_bomb_is_refused_by_its_header():
    small = bytearray(jpeg())
    start = small.index(b"\xff\xc0") + 5  # height and width of the frame
    small[start : start + 4] = (65_500).to_bytes(2, "big") * 2
    assert MAX_PIXELS < 65_500**2
    began_s = time.monotonic()
    with pytest.raises(ImageError, match="pixels"):
        rgb_of_jpeg(bytes(small))
    assert time.monotonic() - began_s < 1.0


def test_a_server_of_a_network_that_takes_no_pictures_takes_no_files(tiny, runtime):
    other = replace(tiny, preprocess=None)
    file = wire.Raw(np.frombuffer(jpeg(), np.uint8))
    with CloudServer(other, runtime) as server:
        client = CloudClient(f"127.0.0.1:{server.port}", other)
        with client, pytest.raises(CloudError, match="takes tensors"):
            client.infer(other.split_points[0], (file,), DEADLINE_S)


def test_a_cut_behind_the_input_takes_no_files(tiny, client):
    file = wire.Raw(np.frombuffer(jpeg(), np.uint8))
    with pytest.raises(CloudError, match="takes tensors"):
        client.infer(tiny.split_points[1], (file,), DEADLINE_S)


def test_only_files_that_are_jpeg_are_kept(tmp_path, form):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "b.JPEG").write_bytes(jpeg())
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "c.png")
    pictures = load_pictures(tmp_path, form)
    assert [bool(picture.file) for picture in pictures] == [True, True, False]
    assert pictures[0].file == jpeg()
