"""The client of Triton Inference Server, as an application would use it."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.partition.local_board import PATIENCE_S, first_row, result


@pytest.fixture
def client(service):
    url = service.addresses[1].removeprefix("http://")
    with triton.InferenceServerClient(url, concurrency=4) as client:
        yield client


@pytest.fixture
def once(service):
    """A board that answers one request, unless it is refused before."""

    def answer():
        request = service.take(time.monotonic() + PATIENCE_S)
        if request is not None:
            request.answer(result(first_row(request.inputs[0])))

    board = threading.Thread(target=answer)
    board.start()
    yield
    board.join(2 * PATIENCE_S)


def input_of(tiny, image, *, binary_data):
    tensor = triton.InferInput(tiny.inputs[0].name, list(image.shape), "FP32")
    tensor.set_data_from_numpy(image, binary_data=binary_data)
    return tensor


def test_it_finds_the_network_and_its_tensors(client, tiny):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(tiny.name)
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata(tiny.name)
    assert [each["shape"] for each in metadata["inputs"]] == [list(tiny.input_shape)]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_it_gets_the_network_s_answer(client, once, tiny, image, binary_in, binary_out):
    name = tiny.outputs[0].name
    outputs = None
    if binary_out is not None:
        outputs = [triton.InferRequestedOutput(name, binary_data=binary_out)]
    answer = client.infer(
        tiny.name,
        [input_of(tiny, image, binary_data=binary_in)],
        outputs=outputs,
        request_id="7",
        timeout=int(PATIENCE_S * 1e6),
    )
    np.testing.assert_array_equal(answer.as_numpy(name), first_row(image))
    response = answer.get_response()
    assert response["id"] == "7"
    assert response["parameters"]["served_by"] == "edge"


def test_its_errors_carry_status_and_sentence(client, tiny, image):
    tensor = input_of(tiny, image, binary_data=True)
    with pytest.raises(InferenceServerException, match="waited too long") as late:
        client.infer(tiny.name, [tensor], timeout=20_000)
    assert late.value.status() == "504"
    with pytest.raises(InferenceServerException, match="there is nothing at"):
        client.infer("other", [tensor])
    with pytest.raises(InferenceServerException, match="there is no output 'y'"):
        client.infer(tiny.name, [tensor], outputs=[triton.InferRequestedOutput("y")])
    with pytest.raises(InferenceServerException, match="compressed"):
        client.infer(tiny.name, [tensor], request_compression_algorithm="gzip")
