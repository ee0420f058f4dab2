"""Pictures as files, the way curl sends them."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from partition.data.images import Picture
from partition.data.real_inputs import picture_format
from partition.edge.http import application
from partition.edge.http.application import HttpApplication
from partition.edge.local_service import LocalService
from partition.errors import ImageError
from tests.partition.http.conftest import asked, over_tcp, over_unix, wait_for
from tests.partition.local_board import PATIENCE_S, result

SCORES = np.array([[0.5, 3.0, -1.0, 2.0, 2.0, 1.0, 0.0]], np.float32)
CONNECTIONS = pytest.mark.parametrize("connect", [over_tcp, over_unix])


@pytest.fixture
def photograph():
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    return Image.fromarray(pixels)


def file_of(image, kind):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def answered(service, connect, tiny, body, output, query=""):
    """Sends a picture, gives it an output; what came back, and the input that the board saw."""
    found = []

    def ask():
        path = f"/predictions/{tiny.name}{query}"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}  # as curl says by itself
        found.append(asked(connect(service), "POST", path, body, headers))

    caller = threading.Thread(target=ask)
    caller.start()
    request = service.take(time.monotonic() + PATIENCE_S)
    if request is not None:
        request.answer(result(output))
    caller.join(PATIENCE_S)
    return found[0], request


@CONNECTIONS
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_picture_is_prepared_as_ever_and_its_classes_named(
    service, tiny, photograph, connect, kind
):
    file = file_of(photograph, kind)
    (status, _, document), request = answered(service, connect, tiny, file, SCORES)
    assert status == 200
    with Image.open(io.BytesIO(file)) as image:
        (expected,) = Picture(image.convert("RGB"), picture_format(tiny))()
    np.testing.assert_array_equal(request.inputs[0], expected)
    assert [(each["index"], each["score"]) for each in document["classes"]] == [
        *((1, 3.0), (3, 2.0), (4, 2.0), (5, 1.0), (0, 0.5))
    ]
    assert document["model_name"] == tiny.name
    assert document["parameters"]["served_by"] == "edge"
    assert document["parameters"]["latency_s"] > 0.0


@pytest.mark.parametrize(
    "scores",
    [
        np.array([[0, 255, 1]], np.uint8),
        np.array([[-128, 127, 0]], np.int8),
        np.array([[False, True, False]]),
    ],
)
def test_scores_in_whole_numbers_are_in_order_too(service, tiny, photograph, scores):
    file = file_of(photograph, "PNG")
    (status, _, document), _ = answered(service, over_tcp, tiny, file, scores)
    assert status == 200
    best = [each["index"] for each in document["classes"]]
    assert (best[0], sorted(best)) == (1, [0, 1, 2])
    found = [each["score"] for each in document["classes"]]
    assert found == sorted(found, reverse=True)


def test_a_deadline_holds_while_other_pictures_are_decoded(service, tiny, photograph, monkeypatch):
    decoded, go_on = [], threading.Event()

    def slowly(file):
        decoded.append(file)
        go_on.wait(PATIENCE_S)
        raise ImageError("no picture")

    monkeypatch.setattr(application, "rgb_of_file", slowly)
    path, file = f"/predictions/{tiny.name}", file_of(photograph, "PNG")
    first = threading.Thread(target=asked, args=(over_tcp(service), "POST", path, file))
    first.start()
    wait_for(lambda: decoded)
    status, _, document = asked(over_tcp(service), "POST", f"{path}?timeout=50000", file)
    go_on.set()
    first.join(PATIENCE_S)
    assert (status, document) == (504, {"error": "the request waited too long"})
    assert len(decoded) == 1


def test_a_network_that_names_no_class_answers_with_its_outputs(tiny, photograph):
    service = LocalService(
        replace(tiny, measure="correlation"), None, http=["127.0.0.1:0"], max_waiting=1
    )
    service.start()
    service.addresses = (None, *service.addresses)  # where the others have gRPC
    try:
        (status, _, document), _ = answered(
            service, over_tcp, tiny, file_of(photograph, "PNG"), SCORES
        )
    finally:
        service.stop()
    assert status == 200
    assert document["outputs"][0]["data"] == SCORES.reshape(-1).tolist()
    assert "classes" not in document


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "cannot identify image file"),
        (b"no picture", 400, "JPEG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 400, "can be decoded"),
        (b"GIF89a" + bytes(100), 400, "can be decoded"),
    ],
)
def test_what_is_no_picture_is_refused(board, tiny, body, status, reason):
    found, _, document = asked(over_tcp(board), "POST", f"/predictions/{tiny.name}", body)
    assert found == status
    assert reason in document["error"]


def test_half_a_picture_and_one_too_large_are_refused(board, tiny, photograph):
    connection, path = over_tcp(board), f"/predictions/{tiny.name}"
    half = file_of(photograph, "JPEG")[:1000]
    assert asked(connection, "POST", path, half)[0] == 400
    huge = file_of(Image.new("1", (13_000, 13_000)), "PNG")
    status, _, document = asked(connection, "POST", path, huge)
    assert status == 400
    assert "13000 x 13000 pixels" in document["error"]


def test_a_file_that_is_too_long_is_refused(board, tiny):
    body = bytes(17 * 2**20)
    status, _, document = asked(over_tcp(board), "POST", f"/predictions/{tiny.name}", body)
    assert status == 413
    assert "16777216" in document["error"]


def test_a_form_is_told_apart_from_a_file(board, tiny):
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    found = asked(over_tcp(board), "POST", f"/predictions/{tiny.name}", b"--x--", form)
    assert found[0] == 415
    assert "--data-binary" in found[2]["error"]


@pytest.mark.parametrize(
    "query", ["?timeout=", "?timeout=-1", "?timeout=1.5", "?top=3", "?timeout=1&timeout=2", "?x"]
)
def test_another_query_is_refused(board, tiny, photograph, query):
    status, _, document = asked(
        over_tcp(board), "POST", f"/predictions/{tiny.name}{query}", file_of(photograph, "PNG")
    )
    assert status == 400
    assert "timeout=MICROSECONDS" in document["error"]


def test_a_picture_has_a_deadline_if_it_is_given(service, tiny, photograph):
    path = f"/predictions/{tiny.name}?timeout=50000"
    status, *_ = asked(over_tcp(service), "POST", path, file_of(photograph, "PNG"))
    assert status == 504


def test_a_network_that_takes_no_pictures_says_so(tiny):
    tokens = replace(tiny.inputs[0], dtype="int64", shape=(1, 16))
    application = HttpApplication(
        replace(tiny, inputs=(tokens,), preprocess=None), lambda *_: result()
    )
    with pytest.raises(ImageError, match="takes no pictures: ask /v2/models/tiny-cnn/infer"):
        application._picture(b"")
