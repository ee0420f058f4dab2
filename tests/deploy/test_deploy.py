"""`deploy.py` with a real server and network; what needs no process of its own calls `main`."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

import deploy
from agents.deployed.run_folder import RunFolder
from agents.deployed.transition_log import read_log
from agents.policy import checksum
from common import command
from partition.model.runtime import SplitRuntime
from partition.server.cloud_server import CloudServer
from tests.conftest import REPOSITORY, one_sentence
from tests.deploy.conftest import BLOCKED


@pytest.fixture
def cloud(tiny):
    with CloudServer(tiny, SplitRuntime(tiny)) as server:
        yield f"127.0.0.1:{server.port}"


@contextmanager
def started(run, photographs, *options):
    """A deployment that has printed its first line."""
    command = [sys.executable, "-u", "deploy.py", "--run", run, "--source", photographs, "--json"]
    with subprocess.Popen(
        [*map(str, command), *options],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert "runs on" in process.stdout.readline(), process.stderr.read()
            assert "GHz | cut" in process.stdout.readline(), process.stderr.read()
            yield process
        finally:
            process.kill()


def finish(process, told=r"") -> dict[str, object]:
    """Wait for the end, with so much told on the way; returns the last line's document."""
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert re.fullmatch(told, errors), errors
    return json.loads(output.splitlines()[-1])


def test_summary_tells_what_was_served_and_needs_no_learning_package(
    run_script, cloud_run, photographs, cloud
):
    options = ["--source", photographs, "--cloud", cloud, "--duration", 2.2, "--json"]
    result = run_script("deploy.py", "--run", cloud_run, *options, block=BLOCKED)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert any("set cpu" in line for line in lines[:2])
    document = json.loads(lines[-1])
    assert document["policy"] == "ppo"
    assert document["board"] == "tx2"
    assert document["board_is_modelled"] is True
    assert document["model"] == "tiny-cnn"
    assert document["dry_run"] is False
    assert document["duration_s"] >= 2.0
    assert 15 <= document["requests"] <= 30
    assert document["fallbacks"] == document["dropped"] == 0
    assert document["top1_agreement"] == document["deadline_hit_rate"] == 1.0
    for energy in ("energy_per_request", "energy_per_request_uncertainty"):
        total_j = document[energy.replace("_per_request", "") + "_j"]
        assert document[f"{energy}_j"] == pytest.approx(total_j / document["requests"])
    latencies_s = [document[f"latency_p{p}_s"] for p in (50, 95, 99)]
    assert 0.0 < latencies_s[0] <= latencies_s[1] <= latencies_s[2] < 0.1
    assert 0.0 < document["decision_median_s"] < 1e-3
    assert list(document["requests_per_cut"].values()) == [document["requests"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_first_signal_finishes_the_step_and_sums_up(edge_run, photographs, number):
    with started(edge_run, photographs) as process:
        process.send_signal(number)
        document = finish(process)
    assert document["requests"] > 0
    assert document["duration_s"] < 10.0


def test_server_that_goes_away_is_replaced_by_the_edge(tiny, cloud_run, photographs):
    with CloudServer(tiny, SplitRuntime(tiny)) as server:
        options = ["--cloud", f"127.0.0.1:{server.port}", "--duration", "4"]
        deployment = started(cloud_run, photographs, *options)
        process = deployment.__enter__()
    try:
        document = finish(process, r"asking the cloud failed: .* served on the board alone .*\n")
    finally:
        deployment.__exit__(None, None, None)
    assert document["fallbacks"] > 0
    assert document["requests"] + document["dropped"] >= 30
    assert document["fallbacks"] < document["requests"]
    assert document["top1_agreement"] == 1.0


@pytest.mark.usefixtures("kept_signals")
def test_second_signal_does_not_wait():
    stop = deploy.StopRequest.__new__(deploy.StopRequest)
    stop.wanted, stop.can_wait = False, True
    stop._handle(signal.SIGTERM, None)
    assert stop.wanted
    with pytest.raises(command.Stopped):
        stop._handle(signal.SIGTERM, None)


def test_signal_before_the_first_step_stops_at_once(main, edge_run, monkeypatch, capsys):
    def opening(*_, **__):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(deploy, "make_live", opening)
    assert main(edge_run) == 128 + signal.SIGTERM
    assert "stopped" in capsys.readouterr().err


def test_cloud_is_optional(main, edge_run, capsys):
    assert main(edge_run, "--duration", 0.5, "--json") == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["requests"] > 0
    assert document["fallbacks"] == 0


def test_steps_are_logged_where_that_is_wanted(main, edge_run, tmp_path, capsys):
    assert main(edge_run, "--duration", "1", "--log", tmp_path / "log") == 0
    found = read_log(tmp_path / "log", RunFolder.load(edge_run).policy.layout)
    assert len(found.costs) >= 2
    assert found.actions[-1].tolist() == [0, 1, 2, 4]
    assert (found.costs > 0.0).all()
    assert main(edge_run, "--duration", "1", "--log", edge_run / "config.json") == 2
    assert "is no log of deploy.py --log" in capsys.readouterr().err


def test_requests_do_not_wait_for_a_slow_decision(main, edge_run, monkeypatch, capsys):
    """Six steps of a quarter of a second, where waiting would leave time for four."""
    decide, taken_s = deploy.RunFolder.load(edge_run).policy.decide, []
    add = deploy.ServiceTotals.add

    def slowly(self, observation):
        time.sleep(0.12)
        return decide(observation)

    def watched(self, info, decision_s):
        taken_s.append(decision_s)
        add(self, info, decision_s)

    monkeypatch.setattr("agents.policy.frozen.FrozenPolicy.decide", slowly)
    monkeypatch.setattr(deploy.ServiceTotals, "add", watched)
    assert main(edge_run, "--duration", 1.5, "--json") == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["duration_s"] / len(taken_s) < 0.3
    assert taken_s[0] == 0.0  # what was in force before
    assert min(taken_s[1:]) > 0.1


def test_json_line_is_only_printed_when_asked(main, edge_run, capsys):
    assert main(edge_run, "--duration", 0.5) == 0
    text = capsys.readouterr().out
    assert "(board modelled)" in text
    assert "{" not in text


@pytest.mark.parametrize("megabytes", [150, 250, 300, 350])
def test_a_small_address_space_is_one_sentence(edge_run, photographs, megabytes):
    """Memory for the libraries, for threads, or for gRPC's own threads, which waits for ever."""
    bounded = (
        f'ulimit -v {megabytes * 10**6 // 1024}; exec "$@"'  # gRPC may not survive a fork here
    )
    command = [sys.executable, "deploy.py", "--run", edge_run, "--listen=127.0.0.1:0"]
    result = subprocess.run(
        ["sh", "-c", bounded, "sh", *command, "--duration=0.3"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if result.returncode:
        one_sentence(result)


def test_device_with_other_clocks_is_refused(edge_run, refusal):
    config = json.loads((edge_run / "config.json").read_text())
    (edge_run / "config.json").write_text(json.dumps(config | {"device": "tx2"}))
    assert "another clock tables of the board" in refusal(edge_run)


def test_missing_run_is_refused(tmp_path, refusal):
    assert "nowhere is no folder" in refusal(tmp_path / "nowhere")


def test_run_without_a_policy_is_refused(edge_run, refusal):
    shutil.rmtree(edge_run / "policy")
    assert "give the folder of a finished training run" in refusal(edge_run)


def test_policy_of_another_schema_is_refused(edge_run, refusal):
    path = edge_run / "policy" / "policy.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    assert "schema version 99" in refusal(edge_run)


def test_corrupt_weights_are_refused(edge_run, refusal):
    path = edge_run / "policy" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "is damaged" in refusal(edge_run)


def test_policy_for_another_model_is_refused(edge_run, refusal):
    path = edge_run / "policy" / "policy.json"
    document = json.loads(path.read_text())
    document["layout"]["model"] = "resnet50"
    path.write_text(json.dumps(checksum.sealed(document)))
    assert "another model (resnet50, here tiny-cnn)" in refusal(edge_run)


@pytest.mark.parametrize(
    ("option", "listed"),
    [
        ("--board", "sim, emulated, replay, linux"),
        ("--scenario", "steady-wifi"),
        ("--model", "partition.prepare"),
    ],
)
def test_unknown_name_is_refused_with_what_to_give(edge_run, refusal, option, listed):
    message = refusal(edge_run, option, "nonsense")
    assert "nonsense" in message
    assert listed in message


def test_photographs_that_are_none_are_refused(edge_run, refusal, tmp_path):
    source = tmp_path / "pictures"
    assert f"{source} does not exist" in refusal(edge_run, "--source", source)
    source.mkdir()
    assert f"{source} holds no image" in refusal(edge_run, "--source", source)
    (source / "broken.png").write_bytes(b"\x89PNG\r\n")
    assert "broken.png cannot be decoded" in refusal(edge_run, "--source", source)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:99999"])
def test_address_that_is_none_is_refused(edge_run, refusal, address):
    assert address in refusal(edge_run, "--cloud", address)


def test_cloud_that_comes_after_the_start_is_found(tiny, cloud_run, photographs):
    with CloudServer(tiny, SplitRuntime(tiny)) as server:
        address = f"127.0.0.1:{server.port}"
    with (
        started(cloud_run, photographs, "--cloud", address, "--duration", "5") as process,
        CloudServer(tiny, SplitRuntime(tiny), address),
    ):
        document = finish(process, r"asking the cloud failed: .*\nasking the cloud works again.*\n")
    assert 0 < document["fallbacks"] < document["requests"]


@pytest.mark.parametrize("duration", ["0", "-1", "nan", "inf", "soon"])
def test_duration_that_is_none_is_refused(main, edge_run, capsys, duration):
    with pytest.raises(SystemExit) as stopped:
        main(edge_run, "--duration", duration)
    assert stopped.value.code == 2
    assert "--duration" in capsys.readouterr().err


def test_bad_input_ends_the_command_without_a_traceback(script_error, tmp_path):
    assert "is no folder" in script_error("deploy.py", "--run", tmp_path / "nowhere")


def test_a_log_on_a_full_disk_ends_no_service(run_script, edge_run, photographs):
    """`/dev/full` is always full; that the summary cannot be printed either is told at the end."""
    script = (
        "import os, sys; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); "
        "import runpy; sys.argv = ['deploy.py', *sys.argv[1:]]; "
        "runpy.run_path('deploy.py', run_name='__main__')"
    )
    began_s = time.monotonic()
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            "--run",
            edge_run,
            "--source",
            photographs,
            "--duration",
            "3",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert time.monotonic() - began_s > 3.0
    assert "printing what happens failed: [Errno 28]" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode == 2
