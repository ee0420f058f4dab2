"""`deploy.py --listen`: an application in another process, and the document that describes it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from partition.edge.local_client import LocalClient
from partition.errors import CloudError, CloudUnavailableError
from partition.model.runtime import SplitRuntime
from tests.conftest import LEARNING_PACKAGES, REPOSITORY, script_command
from tests.runs import constant_policy, write_run

EDGE = (0, 1, 2, 4)
PATIENCE_S = 20.0
# What `pip install .[edge]` does not bring.
BLOCKED = (*LEARNING_PACKAGES, "onnxscript", "skimage", "grpc_health", "grpc_reflection", "ray")


@pytest.fixture
def run(tiny, small_device, small_world, tmp_path):
    policy = constant_policy(small_world.layout, EDGE)
    return write_run(tmp_path / "run", policy, small_device, tiny.path)


@pytest.fixture
def address():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def daemon(run, address):
    """A deployment that waits for an application, without learning packages or photographs."""
    options = ["--run", run, "--listen", address, "--json"]
    command = script_command("deploy.py", *options, block=BLOCKED)
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def connected(address, model):
    """The application's client as soon as somebody answers."""
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return LocalClient(address, model)
        except CloudError:
            assert time.monotonic() < give_up_s
            time.sleep(0.1)


def test_an_application_is_served_and_told_when_the_board_is_given_back(daemon, address, tiny):
    images = [np.full(tiny.input_shape, i, np.float32) for i in range(12)]
    with connected(address, tiny.path) as application:
        answers = [application.infer(image, deadline_s=PATIENCE_S)[0] for image in images]
        daemon.terminate()
        output, errors = daemon.communicate(timeout=PATIENCE_S)
        with pytest.raises(CloudUnavailableError, match=f"deploy.py --listen {address}"):
            application.infer(images[0])
    assert (daemon.returncode, errors) == (0, "")
    whole = SplitRuntime(tiny).whole
    for image, answer in zip(images, answers, strict=True):
        np.testing.assert_allclose(answer, whole((image,))[0], rtol=1e-4, atol=1e-5)
    document = json.loads(output.splitlines()[-1])
    assert document["requests"] == len(images)
    assert document["requests_per_cut"] == {"output": len(images)}
    assert document["top1_agreement"] is None
    assert document["dropped"] == 0


def test_it_stops_when_told_to_however_fast_applications_ask(daemon, address, tiny):
    def ask(application):
        image = np.zeros(tiny.input_shape, np.float32)
        while daemon.poll() is None:
            with suppress(CloudError):
                application.infer(image, deadline_s=PATIENCE_S)

    with connected(address, tiny.path) as application, ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(ask, application)
        time.sleep(1.0)
        began_s = time.monotonic()
        daemon.terminate()
        output, errors = daemon.communicate(timeout=PATIENCE_S)
        assert time.monotonic() - began_s < 0.5 * PATIENCE_S
    assert (daemon.returncode, errors) == (0, "")
    assert f"answers applications at {address}\n" in output


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--listen", ""], "HOST:PORT"),
        (["--listen", "0.0.0.0:50060"], "listen on 127.0.0.1"),
        (["--listen", "50060"], "HOST:PORT"),
    ],
)
def test_an_address_that_will_not_do_is_one_sentence(script_error, run, options, named):
    assert named in script_error("deploy.py", "--run", run, *options)


def test_pictures_and_an_application_exclude_each_other(run_script, run):
    result = run_script("deploy.py", "--run", run, "--listen", "127.0.0.1:0", "--source", ".")
    assert result.returncode == 2
    assert "not allowed with argument --listen" in result.stderr


def test_the_documented_lines_run(daemon, address, tiny):
    text = (REPOSITORY / "docs" / "application.md").read_text()
    lines = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)[1]
    shape = ", ".join(map(str, tiny.input_shape))
    for shown, here in (
        ("127.0.0.1:50060", address),
        ("models/efficientnet-lite0", str(tiny.path)),
        ("1, 3, 224, 224", shape),
        ("deadline_s=0.5", f"deadline_s={PATIENCE_S}"),
    ):
        assert shown in lines
        lines = lines.replace(shown, here)
    connected(address, tiny.path).close()
    subprocess.run(
        [sys.executable, "-c", lines], cwd=REPOSITORY, check=True, timeout=2 * PATIENCE_S
    )
