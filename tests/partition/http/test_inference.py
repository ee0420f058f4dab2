"""The Open Inference Protocol as a board answers it: inputs, outputs, metadata, refusals."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partition.edge.http import inference
from partition.edge.local_client import LocalClient
from partition.edge.pipeline import InferenceResult
from partition.errors import ModelRunError, WireError
from tests.partition.http.conftest import WAITING, asked, over_tcp, over_unix, wait_for
from tests.partition.local_board import PATIENCE_S, first_row, result

CONNECTIONS = pytest.mark.parametrize("connect", [over_tcp, over_unix])
FAST = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


def path_of(tiny):
    return f"/v2/models/{tiny.name}/infer"


def question(tiny, image, **changes):
    """An inference request as plain values."""
    (spec,) = tiny.inputs
    tensor = {"name": spec.name, "shape": list(image.shape), "datatype": "FP32"}
    return {"inputs": [{**tensor, "data": image.reshape(-1).tolist(), **changes}]}


def binary_question(tiny, image, datatype="FP32", **more):
    """The same with binary data, and its headers."""
    (spec,) = tiny.inputs
    parameters = {"binary_data_size": image.nbytes}
    tensor = {"name": spec.name, "shape": list(image.shape), "datatype": datatype}
    text = json.dumps({"inputs": [{**tensor, "parameters": parameters}], **more}).encode()
    return text + image.tobytes(), {inference.HEADER_LENGTH: str(len(text))}


@CONNECTIONS
def test_an_input_in_json_has_its_answer_and_how_it_came_about(board, tiny, image, connect):
    status, headers, document = asked(
        connect(board), "POST", path_of(tiny), json.dumps({"id": "7", **question(tiny, image)})
    )
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert (document["model_name"], document["id"]) == (tiny.name, "7")
    (output,) = document["outputs"]
    assert output["name"] == tiny.outputs[0].name
    assert (output["datatype"], output["shape"]) == ("FP32", list(first_row(image).shape))
    np.testing.assert_array_equal(
        np.array(output["data"], np.float32).reshape(output["shape"]), first_row(image)
    )
    parameters = document["parameters"]
    assert 0.0 < parameters.pop("latency_s") < PATIENCE_S
    assert parameters == {"served_by": "edge", "fell_back": False}


@CONNECTIONS
def test_binary_data_go_and_come(board, tiny, image, connect):
    body, headers = binary_question(tiny, image, parameters={"binary_data_output": True})
    connection = connect(board)
    for _ in range(3):  # on one connection
        connection.request("POST", path_of(tiny), body, headers)
        response = connection.getresponse()
        content, n_json = response.read(), int(response.headers[inference.HEADER_LENGTH])
        assert response.status == 200
        document = json.loads(content[:n_json])
        (output,) = document["outputs"]
        assert output["parameters"] == {"binary_data_size": len(content) - n_json}
        assert "data" not in output
        np.testing.assert_array_equal(
            np.frombuffer(content[n_json:], np.float32).reshape(output["shape"]), first_row(image)
        )


def test_nested_lists_and_other_types_become_the_network_s(board, tiny, image):
    connection, rounded = over_tcp(board), np.rint(image)
    for data, datatype in (
        (rounded.tolist(), "FP64"),
        (rounded.astype(int).reshape(-1).tolist(), "INT8"),
        (rounded.tolist(), "INT64"),
    ):
        body = json.dumps(question(tiny, image, data=data, datatype=datatype))
        status, _, document = asked(connection, "POST", path_of(tiny), body)
        assert status == 200, document
        found = np.array(document["outputs"][0]["data"]).reshape(first_row(image).shape)
        np.testing.assert_array_equal(found, first_row(rounded))


def test_grpc_and_http_answer_the_same_and_wait_in_one_queue(board, tiny, image):
    with LocalClient(board.addresses[0], tiny.path) as application:
        (by_grpc,) = application.infer(image, deadline_s=PATIENCE_S)
    _, _, document = asked(
        over_tcp(board), "POST", path_of(tiny), json.dumps(question(tiny, image))
    )
    np.testing.assert_array_equal(
        by_grpc.reshape(-1), np.array(document["outputs"][0]["data"], np.float32)
    )
    assert len(board.arrivals_s()) == 2


def test_where_an_answer_was_finished_is_told(service, tiny, image):
    found = []
    body = json.dumps(question(tiny, image))

    def ask():
        found.append(asked(over_tcp(service), "POST", path_of(tiny), body)[2])

    caller = threading.Thread(target=ask)
    caller.start()
    request = service.take(time.monotonic() + PATIENCE_S)
    request.answer(InferenceResult((image,), 0.1, 0.1, fallback="the link is down"))
    caller.join(PATIENCE_S)
    assert found[0]["parameters"]["fell_back"] is True
    assert found[0]["parameters"]["served_by"] == "edge"


def test_numbers_that_are_none_are_null_in_json_and_themselves_in_binary_data(service, tiny, image):
    answers = []
    output = np.array([[np.nan, -np.inf, 1.0]], np.float32)
    body, headers = binary_question(tiny, image)
    binary, _ = binary_question(tiny, image, parameters={"binary_data_output": True})
    lengths = str(len(binary) - image.nbytes)

    def ask():
        connection = over_tcp(service)
        answers.append(asked(connection, "POST", path_of(tiny), body, headers)[2])
        connection.request("POST", path_of(tiny), binary, {inference.HEADER_LENGTH: lengths})
        answers.append(connection.getresponse().read())

    caller = threading.Thread(target=ask)
    caller.start()
    for _ in range(2):
        service.take(time.monotonic() + PATIENCE_S).answer(result(output))
    caller.join(PATIENCE_S)
    assert answers[0]["outputs"][0]["data"] == [None, None, 1.0]
    assert answers[1].endswith(output.tobytes())


def test_health_and_metadata_are_the_protocol_s(board, tiny):
    connection = over_tcp(board)
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{tiny.name}/ready"):
        assert asked(connection, "GET", path)[0] == 200
    _, _, server = asked(connection, "GET", "/v2")
    assert (server["name"], server["extensions"]) == ("dvfo", ["binary_tensor_data"])
    _, _, model = asked(connection, "GET", f"/v2/models/{tiny.name}")
    (spec,) = tiny.inputs
    assert model["inputs"] == [{"name": spec.name, "datatype": "FP32", "shape": list(spec.shape)}]
    assert [each["name"] for each in model["outputs"]] == [each.name for each in tiny.outputs]


def test_a_timeout_is_a_deadline_and_told_as_one(service, tiny, image):
    body = {**question(tiny, image), "parameters": {"timeout": 50_000}}
    status, _, document = asked(over_tcp(service), "POST", path_of(tiny), json.dumps(body))
    assert (status, document) == (504, {"error": "the request waited too long"})
    wait_for(lambda: service.waiting() == 0)
    assert service.refused == 1


def test_one_too_many_is_told_to_come_again(service, tiny, image):
    body, headers = binary_question(tiny, image)
    found = []

    def ask():
        found.append(asked(over_tcp(service), "POST", path_of(tiny), body, headers))

    callers = [threading.Thread(target=ask) for _ in range(WAITING + 1)]
    for caller in callers:
        caller.start()
    wait_for(lambda: service.refused == 1)
    for _ in range(WAITING):
        service.take(time.monotonic() + PATIENCE_S).answer(result(image))
    for caller in callers:
        caller.join(PATIENCE_S)
    assert sorted(status for status, *_ in found) == [200] * WAITING + [429]
    (refused,) = [each for each in found if each[0] == 429]
    assert refused[1]["Retry-After"] == "1"
    assert "wait already" in refused[2]["error"]


def test_a_network_that_fails_says_why(service, tiny, image):
    found = []

    def ask():
        body, headers = binary_question(tiny, image)
        found.append(asked(over_tcp(service), "POST", path_of(tiny), body, headers))

    caller = threading.Thread(target=ask)
    caller.start()
    service.take(time.monotonic() + PATIENCE_S).refuse(ModelRunError("no memory is left"))
    caller.join(PATIENCE_S)
    status, _, document = found[0]
    assert (status, document) == (500, {"error": "no memory is left"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "other"}, "inputs are ['other']"),
        ({"datatype": "FP8"}, "'FP8'"),
        ({"datatype": "BYTES"}, "'BYTES'"),
        ({"shape": [1, 3, 64]}, "are not [1, 3, 64] of FP32"),
        ({"shape": [1, 3, 64, -64]}, "`int` >= 0"),
        ({"data": []}, "length >= 1"),
        ({"data": [[]]}, "length >= 1"),
        ({"data": [[1.0], [1.0, 2.0]]}, "are not [1, 3, 64, 64] of FP32"),
        ({"data": ["one"]}, "got `str`"),
        ({"data": [10**400]}, "FP32"),
        ({"data": None}, "either data or binary_data_size"),
        ({"datatype": "UINT8", "data": [300] * 12288}, "300"),
        ({"datatype": "BOOL", "data": [2] * 12288}, "2 of"),
        ({"parameters": {"shared_memory_region": "a"}}, "shared_memory_region"),
        ({"parameters": {"binary_data_size": 4}}, "either data or binary_data_size"),
        ({"more": 1}, "unknown field `more`"),
    ],
)
def test_what_is_no_input_is_named(tiny, image, change, reason):
    body = json.dumps(question(tiny, image, **change)).encode()
    with pytest.raises(WireError) as refusal:
        inference.parse(body, None, tiny)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"outputs": [{"name": "none"}]}, "there is no output 'none'"),
        ({"parameters": {"timeout": 0}}, "timeout of 0"),
        ({"parameters": {"timeout": 0.5}}, "timeout of 0.5"),
        ({"parameters": {"timeout": True}}, "timeout of True"),
        ({"parameters": {"priority": 1}}, "'priority'"),
        ({"parameters": {"binary_data_output": 1}}, "true or false"),
        ({"id": 7}, "`$.id`"),
        ({"model_name": "other"}, "the request is for 'other'"),
        ({"inputs": []}, "inputs are []"),
        ({"inputs": {}}, "`$.inputs`"),
    ],
)
def test_what_cannot_be_done_is_named(tiny, image, more, reason):
    with pytest.raises(WireError) as refusal:
        inference.parse(json.dumps({**question(tiny, image), **more}).encode(), None, tiny)
    assert reason in str(refusal.value)


def test_what_other_clients_write_besides_is_taken(tiny, image):
    tensor = {"parameters": {"content_type": "np"}}
    for more, change in (
        ({"id": "a", "model_name": tiny.name}, {}),  # KServe's
        ({"id": None, "parameters": None, "outputs": None}, {"parameters": None}),
        ({"parameters": {"content_type": "np"}}, tensor),  # MLServer's
        ({"outputs": [{"name": tiny.outputs[0].name, "parameters": None}]}, {}),
    ):
        body = json.dumps({**question(tiny, image, **change), **more})
        asked = inference.parse(body.encode(), None, tiny)
        np.testing.assert_array_equal(asked.inputs[0], image)
        assert asked.outputs == ((0, False),)
        assert asked.id == (more.get("id") or "")


def test_an_input_or_output_is_named_once(tiny, image):
    short = question(tiny, image, shape=[1], data=[1.0])["inputs"]
    with pytest.raises(WireError, match="there twice"):
        inference.parse(json.dumps({"inputs": short * 2}).encode(), None, tiny)
    document = question(tiny, image)
    outputs = [{"name": tiny.outputs[0].name}] * 2
    with pytest.raises(WireError, match="wanted twice"):
        inference.parse(json.dumps({**document, "outputs": outputs}).encode(), None, tiny)


def test_binary_data_that_do_not_fit_are_named(tiny, image):
    body, headers = binary_question(tiny, image)
    length = headers[inference.HEADER_LENGTH]
    for other, wrong, reason in (
        (body[:-1], length, "takes 49152 bytes"),
        (body + b"\0", length, "1 bytes of binary data belong to no input"),
        (body, str(len(body) + 1), "give the bytes of the JSON"),
        (body, "-1", "give the bytes of the JSON"),
        (body, "\N{ARABIC-INDIC DIGIT ONE}", "give the bytes of the JSON"),
        (body, None, "no inference request in JSON"),
    ):
        with pytest.raises(WireError, match=reason):
            inference.parse(other, wrong, tiny)
    truths, headers = binary_question(tiny, np.full(image.shape, 2, np.uint8), "BOOL")
    with pytest.raises(WireError, match="of BOOL holds 2"):
        inference.parse(truths, headers[inference.HEADER_LENGTH], tiny)


@pytest.mark.parametrize(
    ("many", "reason"),
    [
        ("[" * 100_000, "more lists than tiny-cnn takes"),
        ("[" * 200, "no inference request"),
        ("[1]," * 100_000 + "[1]]", "more values than tiny-cnn takes"),
        ("[1]," * 10_000 + "[1]]", "more lists than tiny-cnn takes"),
        ('[],"more":{' + '"a":{' * 1_000, "more objects than tiny-cnn takes"),
    ],
)
def test_much_too_much_of_anything_is_refused_before_it_is_taken_apart(tiny, many, reason):
    start = '{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":'
    with pytest.raises(WireError, match=reason):
        inference.parse((start + many).encode(), None, tiny)


def test_data_as_deeply_nested_as_their_shape_are_not_too_much(tiny):
    column = replace(tiny.inputs[0], shape=(1, 4096, 1))
    folder = replace(tiny, inputs=(column,))
    data = np.zeros(column.shape).tolist()
    document = question(tiny, np.zeros(column.shape), data=data)
    found = inference.parse(json.dumps(document).encode(), None, folder)
    assert found.inputs[0].shape == column.shape


@FAST
@given(body=st.binary(max_size=200), length=st.none() | st.text(max_size=8))
def test_garbage_is_refused_and_nothing_else_happens(tiny, body, length):
    with pytest.raises(WireError):
        inference.parse(body, length, tiny)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=4), each, max_size=3)
    ),
    max_leaves=8,
)


@FAST
@given(
    field=st.sampled_from(["name", "shape", "datatype", "parameters", "data"]),
    value=JSON,
    outer=st.sampled_from([None, "id", "parameters", "outputs"]),
)
def test_a_document_with_anything_in_a_place_is_taken_or_refused(tiny, image, field, value, outer):
    document = question(tiny, image)
    if outer is None:
        document["inputs"][0][field] = value
    else:
        document[outer] = value
    try:
        found = inference.parse(json.dumps(document).encode(), None, tiny)
    except WireError:
        return
    assert [each.shape for each in found.inputs] == [tiny.input_shape]
    assert 0.0 < found.timeout_s <= 60.0


@FAST
@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_floats_come_back_bit_by_bit_in_json(values):
    array = np.array(values, np.float32)
    spec = type("Spec", (), {"name": "y"})()
    (document,), binary = inference.render_outputs((array,), ((0, False),), (spec,))
    assert binary == []
    back = np.array(json.loads(json.dumps(document["data"])), np.float32)
    assert back.tobytes() == array.tobytes()
