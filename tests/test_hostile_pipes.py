"""What a user names as a file and is a pipe: refused at once, where reading would wait for ever."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest
from gymnasium import spaces

from agents import freeze
from agents.errors import AgentError
from agents.learning import sb3_model
from agents.policy import folder
from agents.testbed import checkpoints as memory
from envs.errors import EnvError
from envs.scenarios.link_trace import read_trace
from envs.scenarios.scenario import Scenario
from hw.calibrate.sources import SourceTable
from hw.device.model import DeviceModel
from hw.errors import HardwareError
from partition import certificates
from partition.data import datasets
from partition.data.array_files import read_samples
from partition.data.image_file import read_rgb
from partition.errors import PartitionError
from partition.model.split_point import TensorSpec
from partition.placement.cluster import Cluster
from partition.prepare.onnx_file.choices import parse_value
from partition.prepare.onnx_file.read import read as read_onnx
from partition.security.tls import ServerSecurity
from partition.server.certificate_watch import CertificateWatch
from tests.runs import constant_policy

SPACES = SimpleNamespace(
    observation_space=spaces.Box(-1.0, 1.0, (3,)), action_space=spaces.Discrete(2)
)
X = TensorSpec("x", "float32", (1, 3))
READERS = {
    "sample.npy": lambda path: read_samples(path, [X]),
    "sample.npz": lambda path: read_samples(path, [X]),
    "value.npy": lambda path: parse_value(f"x={path}"),
    "actions.npy": freeze._table,
    "memory.npz": lambda path: memory.load_memory(SimpleNamespace(replay_buffer=None), path),
    "picture.png": read_rgb,
    "t10k-labels-idx1-ubyte.gz": lambda path: datasets._fashion_labels(path, 3),
    "network.onnx": read_onnx,
    "board.toml": DeviceModel.load,
    "scenario.toml": Scenario.load,
    "cluster.toml": Cluster.load,
    "trace.csv": read_trace,
    "measured.csv": SourceTable,
    "token": lambda path: ServerSecurity(token_file=path).tokens(),
    "statistics.pkl": lambda path: sb3_model._statistics(path, SPACES),
    "chain.pem": lambda path: CertificateWatch([path]).warn(),
    "ca.pem": lambda path: certificates.make_certificates(path.parent, ["localhost"]),
}


def give_up(*_):
    raise TimeoutError("it waits for a writer")


@pytest.fixture(autouse=True)
def patience():
    """A reader that waits is ended, and the test with it."""
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_a_reader_names_what_is_no_file(tmp_path, name, kind):
    path = tmp_path / name
    make = {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda p: p.symlink_to("/dev/zero")}
    make[kind](path)
    if name == "ca.pem":
        (tmp_path / "ca-key.pem").symlink_to(path)
    with pytest.raises((AgentError, EnvError, HardwareError, PartitionError)) as refused:
        READERS[name](path)
    sentence = str(refused.value)
    assert "no regular file" in sentence
    assert str(tmp_path) in sentence


def test_weights_of_a_policy(small_world, tmp_path):
    constant_policy(small_world.layout, (0, 0, 0, 0)).save(tmp_path)
    (tmp_path / folder.WEIGHTS_FILE).unlink()
    os.mkfifo(tmp_path / folder.WEIGHTS_FILE)
    with pytest.raises(AgentError, match="no regular file"):
        folder.read(tmp_path)
