"""`deploy.py --http`: applications in other processes, and the document that describes it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException

import numpy as np
import pytest
from PIL import Image

from partition.data.images import Picture
from partition.data.real_inputs import picture_format
from partition.edge.local_client import LocalClient
from partition.errors import CloudError
from partition.model.runtime import SplitRuntime
from tests.conftest import LEARNING_PACKAGES, REPOSITORY, script_command
from tests.partition.http.conftest import UnixConnection, asked
from tests.runs import constant_policy, write_run

EDGE = (0, 1, 2, 4)
PATIENCE_S = 30.0
# What `pip install .[edge]` does not bring.
BLOCKED = (
    *(*LEARNING_PACKAGES, "onnxscript", "skimage", "grpc_health", "grpc_reflection", "ray"),
    *("prometheus_client", "tritonclient", "gevent", "requests", "aiohttp"),
)
DOCUMENT = (REPOSITORY / "docs" / "application.md").read_text()


@pytest.fixture
def run(tiny, small_device, small_world, tmp_path):
    policy = constant_policy(small_world.layout, EDGE)
    return write_run(tmp_path / "run", policy, small_device, tiny.path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dvfo.sock"


class Daemon:
    """A deployment that answers by HTTP on a free port and on a Unix socket, and what it says."""

    def __init__(self, run, path, *options):
        http = ("--http", "127.0.0.1:0", "--http", f"unix:{path}")
        command = script_command(
            "deploy.py", "--run", run, *http, *options, "--json", block=BLOCKED
        )
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.addresses = []
        while not any("unix:" in each for each in self.addresses):
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            if found := re.fullmatch("answers applications at (.*)\n", line):
                self.addresses.append(found[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    @property
    def url(self):
        return next(each for each in self.addresses if each.startswith("http://"))

    def stopped(self):
        """Ends it in good order; the document at its end."""
        self.process.terminate()
        output, errors = self.process.communicate(timeout=PATIENCE_S)
        assert (self.process.returncode, errors) == (0, "")
        return json.loads(output.splitlines()[-1])


def inference(tiny, image):
    tensor = {"name": tiny.inputs[0].name, "shape": image.shape, "datatype": "FP32"}
    return json.dumps({"inputs": [{**tensor, "data": image.reshape(-1).tolist()}]})


def test_all_doors_lead_to_one_queue_one_summary_and_one_log(run, path, tiny, tmp_path):
    images = [np.full(tiny.input_shape, i, np.float32) for i in range(4)]
    log, answers = tmp_path / "steps.jsonl", []
    with Daemon(run, path, "--listen", "127.0.0.1:0", "--log", log) as daemon:
        connections = UnixConnection(str(path), timeout=PATIENCE_S)
        grpc, http, unix = daemon.addresses
        assert (http, unix) == (daemon.url, f"unix:{path}")
        with LocalClient(grpc, tiny.path) as application:
            for image in images:
                answers += application.infer(image, deadline_s=PATIENCE_S)
                status, _, document = asked(
                    connections, "POST", f"/v2/models/{tiny.name}/infer", inference(tiny, image)
                )
                assert status == 200, document
                (output,) = document["outputs"]
                answers.append(np.array(output["data"], np.float32).reshape(output["shape"]))
                assert document["parameters"]["served_by"] == "edge"
                assert not document["parameters"]["fell_back"]
        document = daemon.stopped()
    whole = SplitRuntime(tiny).whole
    for image, *two in zip(images, answers[::2], answers[1::2], strict=True):
        np.testing.assert_array_equal(*two)
        np.testing.assert_allclose(two[0], whole((image,))[0], rtol=1e-4, atol=1e-5)
    assert document["requests"] == 2 * len(images)
    assert document["requests_per_cut"] == {"output": 2 * len(images)}
    assert document["dropped"] == 0
    assert log.stat().st_size > 0
    assert not path.exists()


def test_what_a_killed_daemon_left_is_taken_over_and_no_live_one_s(
    run, path, tiny, script_error, tmp_path
):
    with Daemon(run, path) as daemon:
        said = script_error("deploy.py", "--run", run, "--http", f"unix:{path}")
        assert "another program listens there" in said
        port = daemon.url.removeprefix("http://")
        said = script_error("deploy.py", "--run", run, "--http", port)
        assert "choose another address or port" in said
        daemon.process.kill()
        daemon.process.wait(PATIENCE_S)
    assert path.exists()
    with Daemon(run, path) as daemon:
        connection = UnixConnection(str(path), timeout=PATIENCE_S)
        assert asked(connection, "GET", "/v2/health/ready")[0] == 200
        daemon.stopped()
    assert not path.exists()


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("", "HOST:PORT"),
        ("0.0.0.0:8000", "answer HTTP on 127.0.0.1:8000 or on unix:PATH"),
        ("unix:/nowhere/dvfo.sock", "No such file or directory"),
        (f"unix:/tmp/{'x' * 200}", "the system takes 107"),
        ("unix:/dev/null", "is no socket"),
    ],
)
def test_an_address_that_will_not_do_is_one_sentence(script_error, run, option, named):
    assert named in script_error("deploy.py", "--run", run, "--http", option)


def test_pictures_and_an_application_exclude_each_other(script_error, run):
    said = script_error("deploy.py", "--run", run, "--http", "127.0.0.1:0", "--source", ".")
    assert "give no source where one asks" in said


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, flags=re.DOTALL)


def here(text, daemon, tiny):
    """A documented text with this test's port and network in place of its own."""
    host = daemon.url.removeprefix("http://")
    for shown, own in (("127.0.0.1:8000", host), ("efficientnet-lite0", tiny.name)):
        assert shown in text
        text = text.replace(shown, own)
    return text


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_documented_lines_run_and_the_documented_answer_comes(run, path, tiny, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cat.jpg", "JPEG")
    environment = {**os.environ, "no_proxy": "*"}
    with Daemon(run, path) as daemon:
        (line,) = blocks("sh")
        said = subprocess.run(
            here(line, daemon, tiny),
            shell=True,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            timeout=PATIENCE_S,
            check=True,
        )
        found, (shown,) = json.loads(said.stdout), map(json.loads, blocks("json"))
        assert found.keys() == shown.keys()
        assert found["parameters"].keys() == shown["parameters"].keys()
        assert found["classes"][0].keys() == shown["classes"][0].keys()
        assert len(found["classes"]) == len(shown["classes"])
        with Image.open(tmp_path / "cat.jpg") as image:
            inputs = Picture(image.convert("RGB"), picture_format(tiny))()
        assert found["classes"][0]["index"] == SplitRuntime(tiny).whole(inputs)[0].argmax()
        lines = next(each for each in blocks("python") if "tritonclient" in each)
        lines = here(lines, daemon, tiny).replace("500_000", str(int(PATIENCE_S * 1e6)))
        said = subprocess.run(
            [sys.executable, "-c", lines],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
            check=True,
        )
        assert "'served_by': 'edge'" in said.stdout
        assert daemon.stopped()["requests"] == 2


def test_it_stops_when_told_to_however_fast_and_slowly_applications_ask(run, path, tiny):
    body, statuses, answers = inference(tiny, np.zeros(tiny.input_shape, np.float32)), [], []

    def ask_by_http(daemon):
        while daemon.process.poll() is None:
            connection = UnixConnection(str(path), timeout=PATIENCE_S)
            with suppress(OSError, HTTPException):  # the daemon has gone
                while True:
                    name = f"/v2/models/{tiny.name}/infer"
                    statuses.append(asked(connection, "POST", name, body)[0])

    def ask_by_grpc(daemon, application):
        while daemon.process.poll() is None:
            with suppress(CloudError):
                answers.append(application.infer(np.zeros(tiny.input_shape), deadline_s=PATIENCE_S))

    with (
        Daemon(run, path, "--listen", "127.0.0.1:0") as daemon,
        socket.socket(socket.AF_UNIX) as slow,
        LocalClient(daemon.addresses[0], tiny.path) as application,
        ThreadPoolExecutor(12) as pool,
    ):
        slow.connect(str(path))
        slow.sendall(b"POST ")
        asking = [pool.submit(ask_by_http, daemon) for _ in range(6)]
        asking += [pool.submit(ask_by_grpc, daemon, application) for _ in range(6)]
        while min(len(answers), statuses.count(200)) < 10:
            assert daemon.process.poll() is None
            time.sleep(0.05)
        began_s = time.monotonic()
        document = daemon.stopped()
        assert time.monotonic() - began_s < 0.5 * PATIENCE_S
        for each in asking:
            each.result(PATIENCE_S)
    assert set(statuses) <= {200, 429, 503}
    # Nothing is lost or doubled, but for what was answered when the daemon had no door any more.
    n_answered = len(answers) + statuses.count(200)
    assert 0 <= document["requests"] - n_answered <= len(asking)
