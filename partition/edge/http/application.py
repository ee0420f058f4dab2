"""What a board answers by HTTP: health, metadata, inference, and pictures as files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
import numpy as np

from common.extras import DISTRIBUTION
from partition.data.image_file import rgb_of_file
from partition.data.images import Picture
from partition.data.pictures import PictureFormat
from partition.data.real_inputs import picture_format
from partition.edge.http import inference
from partition.edge.http.message import HttpRequest, HttpResponse, Route, json_response
from partition.edge.http.refusal import HttpRefusalError
from partition.edge.local_queue import Arrays, LocalAnswer
from partition.errors import DeadlineExceededError, ImageError, WireError
from partition.listener import fair_pool
from partition.listener.peers import Peer
from partition.model.folder import ModelFolder
from partition.transport import wire

Ask = Callable[[Arrays, float, Peer], LocalAnswer]
"""From inputs, the moment until which somebody waits, and who does, to the answer."""

_DIGITS = 32
"""Of a number in JSON, what stands between two included; also more than a float64 takes."""
_ROOM_BYTES = 65_536
"""Of a request besides its tensors."""
MAX_PICTURE_BYTES = 16 * 2**20
_N_CLASSES = 5
_N_PARSED, _N_DECODED = 2, 1
"""Requests and pictures taken apart at the same time, which takes many times their bytes."""
_OCTETS, _FORM = "application/octet-stream", "multipart/"


class HttpApplication:
    """Finds what answers a request; safe to use from several threads.

    Args:
        folder: the network.
        ask: waits for an answer.
        clock: monotonic seconds, of `ask`.
    """

    def __init__(
        self, folder: ModelFolder, ask: Ask, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._ask, self._clock = folder, ask, clock
        self._form: PictureFormat | None = picture_format(folder)
        self._parsing = threading.BoundedSemaphore(_N_PARSED)
        self._decoding = threading.BoundedSemaphore(_N_DECODED)
        self._server = json_response(
            {"name": DISTRIBUTION, "version": _version(), "extensions": [inference.EXTENSION]}
        )
        self._model = json_response(
            {
                "name": folder.name,
                "platform": "onnxruntime_onnx",
                "inputs": inference.describe(folder.inputs),
                "outputs": inference.describe(folder.outputs),
            }
        )
        n_bytes = inference.largest_request_bytes(folder, _DIGITS) + _ROOM_BYTES
        model = ("v2", "models", folder.name)
        self._routes: dict[tuple[str, ...], tuple[str, Route]] = {
            ("v2",): _get(self._server),
            ("v2", "health", "live"): _get(json_response({"live": True})),
            ("v2", "health", "ready"): _get(json_response({"ready": True})),
            model: _get(self._model),
            (*model, "ready"): _get(json_response({"name": folder.name, "ready": True})),
            (*model, "infer"): (
                "POST",
                Route(min(n_bytes, wire.MAX_MESSAGE_BYTES), self._infer),
            ),
            ("predictions", folder.name): ("POST", Route(MAX_PICTURE_BYTES, self._classify)),
        }

    def route(self, method: str, path: str) -> Route:
        """What answers a method at a path; HEAD as GET, its response is sent without the body.

        Raises:
            HttpRefusalError: nothing does.
        """
        parts = tuple(map(unquote, path.strip("/").split("/")))
        found = self._routes.get(parts)
        if found is None:
            raise HttpRefusalError(
                HTTPStatus.NOT_FOUND,
                f"there is nothing at {path[:200]!r}: the network here is {self._folder.name}, see "
                f"/v2/models/{self._folder.name}",
            )
        allowed, route = found
        if method != allowed and (method, allowed) != ("HEAD", "GET"):
            raise HttpRefusalError(
                HTTPStatus.METHOD_NOT_ALLOWED, f"{path[:200]} takes {allowed}", allow=allowed
            )
        return route

    def _infer(self, request: HttpRequest) -> HttpResponse:
        began_s, header = self._clock(), request.headers(inference.HEADER_LENGTH)
        with _one_of(self._parsing, inference.timeout_s(None)):
            asked = inference.parse(request.body, header, self._folder)
        answer = self._ask(asked.inputs, began_s + asked.timeout_s, request.peer)
        outputs, binary = inference.render_outputs(
            answer.result.outputs, asked.outputs, self._folder.outputs
        )
        document = {
            "model_name": self._folder.name,
            **({"id": asked.id} if asked.id else {}),
            "parameters": _parameters(answer),
            "outputs": outputs,
        }
        if not binary:
            return json_response(document)
        text = msgspec.json.encode(document)
        headers = {"Content-Type": _OCTETS, inference.HEADER_LENGTH: str(len(text))}
        return HttpResponse(HTTPStatus.OK, b"".join((text, *binary)), headers)

    def _classify(self, request: HttpRequest) -> HttpResponse:
        due_s = self._clock() + inference.timeout_s(_timeout_us(request.query))
        if (request.headers("Content-Type") or "").lower().startswith(_FORM):
            raise HttpRefusalError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "send the file itself, as curl --data-binary does, in no form",
            )
        with _one_of(self._decoding, due_s - self._clock()), fair_pool.aside():
            inputs = self._picture(request.body)
        answer = self._ask(inputs, due_s, request.peer)
        return json_response(
            {
                "model_name": self._folder.name,
                "parameters": _parameters(answer),
                **self._shown(answer.result.outputs),
            }
        )

    def _picture(self, file: bytes) -> Arrays:
        """The network's input out of a picture's file.

        Raises:
            ImageError: it cannot be decoded, is too large, or the network takes no pictures.
        """
        if self._form is None:
            raise ImageError(
                f"model {self._folder.name} takes no pictures: ask /v2/models/{self._folder.name}"
                "/infer"
            )
        return Picture(rgb_of_file(file), self._form)()

    def _shown(self, outputs: Arrays) -> dict[str, Any]:
        """The likeliest classes of a classifier by their numbers, or all outputs."""
        if not self._folder.is_classifier:
            specs = self._folder.outputs
            wanted = inference.all_outputs(specs, binary=False)
            return {"outputs": inference.render_outputs(outputs, wanted, specs)[0]}
        scores = outputs[0].reshape(-1)
        best = np.argsort(-scores.astype(np.float64), kind="stable")[:_N_CLASSES]
        return {"classes": [{"index": int(i), "score": float(scores[i])} for i in best]}


@contextmanager
def _one_of(places: threading.BoundedSemaphore, patience_s: float) -> Iterator[None]:
    """Within, one of a few places is taken; whoever waits for one keeps no thread from Python.

    Raises:
        DeadlineExceededError: there was none in time.
    """
    with fair_pool.aside():
        is_taken = places.acquire(timeout=max(patience_s, 0.0))
    if not is_taken:
        raise DeadlineExceededError("the request waited too long")
    try:
        yield
    finally:
        places.release()


def _get(response: HttpResponse) -> tuple[str, Route]:
    """What always answers the same."""
    return "GET", Route(0, partial(_same, response))


def _same(response: HttpResponse, _: HttpRequest) -> HttpResponse:
    return response


def _parameters(answer: LocalAnswer) -> dict[str, Any]:
    """How an answer came about."""
    return {
        "latency_s": answer.latency_s,
        "served_by": answer.result.served_by,
        "fell_back": answer.result.fallback is not None,
    }


def _timeout_us(query: str) -> int | None:
    """The time-out in a query, which may hold nothing else.

    Raises:
        WireError: it holds something else.
    """
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=1
        )
    except ValueError:
        pairs = [("", "")]
    if not pairs:
        return None
    ((name, value),) = pairs
    if name != "timeout" or not (value.isascii() and value.isdecimal() and len(value) < 16):
        raise WireError("the query takes timeout=MICROSECONDS and nothing else")
    return int(value)


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "of a checkout"
