"""`deploy.py` with a real server and network; what needs no process of its own calls `main`."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deploy
from agents.policy import checksum
from common import command
from envs.live.plant import live_layout
from hw.boards.emulated import EmulatedBoard
from hw.boards.linux import LinuxBoard
from hw.device.model import DeviceModel
from hw.session.journal import STATE_DIR
from hw.settings.cgroup import QuotaGroup
from hw.sysfs import Sysfs
from partition.model.runtime import CPU, PROVIDERS, SplitRuntime
from partition.server.cloud_server import CloudServer
from tests.conftest import LEARNING_PACKAGES, REPOSITORY, one_sentence
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.runs import constant_policy, write_run

CLOUD, EDGE = (2, 1, 2, 0), (0, 1, 2, 4)
BLOCKED = (*LEARNING_PACKAGES, "onnxscript")


@pytest.fixture
def cloud(tiny):
    with CloudServer(tiny, SplitRuntime(tiny)) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
def cloud_run(tiny, small_device, small_world, tmp_path):
    policy = constant_policy(small_world.layout, CLOUD)
    return write_run(tmp_path / "cloud-run", policy, small_device, tiny.path)


@pytest.fixture
def edge_run(tiny, small_device, small_world, tmp_path):
    policy = constant_policy(small_world.layout, EDGE)
    return write_run(tmp_path / "edge-run", policy, small_device, tiny.path)


@pytest.fixture
def photographs(tmp_path):
    """Two small images, quicker to load than the shipped ones."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def kept_signals():
    """This process's signals stay as they were: a test runner's own, and what a child inherits."""
    before = {number: signal.getsignal(number) for number in deploy.StopRequest.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def main(photographs, kept_signals):
    """Call `deploy.main`."""

    def call(run, *options, **keywords) -> int:
        arguments = ["--run", run, "--source", photographs, *options]
        return deploy.main([str(argument) for argument in arguments], **keywords)

    return call


@pytest.fixture
def refusal(main, capsys):
    """Run `deploy.main` on bad input; returns its one sentence."""

    def run(*arguments, **keywords) -> str:
        assert main(*arguments, **keywords) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        return lines[0]

    return run


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
            first = process.stdout.readline()
            assert "GHz | cut" in first, process.stderr.read()
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
    assert "set cpu" in lines[0]
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


def test_requests_do_not_wait_for_a_slow_decision(main, edge_run, monkeypatch, capsys):
    """Six steps of a quarter of a second, where waiting would leave time for four."""
    decide, taken_s = deploy.RunFolder.load(edge_run).policy.decide, []
    add = deploy.Summary.add

    def slowly(self, observation):
        time.sleep(0.12)
        return decide(observation)

    def watched(self, info, decision_s):
        taken_s.append(decision_s)
        add(self, info, decision_s)

    monkeypatch.setattr("agents.policy.frozen.FrozenPolicy.decide", slowly)
    monkeypatch.setattr(deploy.Summary, "add", watched)
    assert main(edge_run, "--duration", 1.5, "--json") == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["duration_s"] / len(taken_s) < 0.3
    assert taken_s[0] == 0.0  # what was in force before
    assert min(taken_s[1:]) > 0.1


def test_a_decision_that_hangs_is_told_once_the_board_is_back(
    machine, machine_run, refusal, monkeypatch
):
    before, hung = machine.kernel.snapshot(), threading.Event()
    monkeypatch.setattr("agents.deployed.concurrent.STOP_S", 0.1)
    monkeypatch.setattr("agents.policy.frozen.FrozenPolicy.decide", lambda *_: hung.wait(60))
    try:
        message = refusal(machine_run, "--board", "linux", "--duration", 0.3, root=machine.root)
    finally:
        hung.set()
    assert "a decision has not come to its end" in message
    assert machine.kernel.snapshot() == before


def test_json_line_is_only_printed_when_asked(main, edge_run, capsys):
    assert main(edge_run, "--duration", 0.5) == 0
    text = capsys.readouterr().out
    assert "(board modelled)" in text
    assert "{" not in text


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A Jetson Orin Nano's kernel, which `--board linux` reaches instead of this machine's."""
    kernel = BOARDS["jetson-orin-nano"]("new")
    monkeypatch.setattr("hw.boards.registry.Sysfs", lambda root: FakeSysfs(kernel, root))
    return FakeSysfs(kernel, tmp_path / "machine")


@pytest.fixture
def machine_run(machine, tiny, tmp_path):
    with LinuxBoard(machine) as board:
        layout = live_layout(board, tiny, 10.0)
    slowest = [0] * len(layout.domains)
    policy = constant_policy(layout, (*slowest, 4))
    return write_run(tmp_path / "machine-run", policy, "", tiny.path)


def watch_limits(monkeypatch, machine: FakeSysfs) -> list[tuple[int, int]]:
    """Limits of the first clock after each control step, kHz."""
    seen: list[tuple[int, int]] = []
    add = deploy.Summary.add

    def watched(self, info, decision_s):
        seen.append(machine.kernel.devices["policy0"].limits_khz())
        add(self, info, decision_s)

    monkeypatch.setattr(deploy.Summary, "add", watched)
    return seen


@pytest.mark.parametrize(("hold", "limits"), [("cap", (115_200, 115_200)), ("pin", None)])
def test_real_board_is_driven_and_left_as_it_was(
    machine, machine_run, main, monkeypatch, capsys, hold, limits
):
    before, seen = machine.kernel.snapshot(), watch_limits(monkeypatch, machine)
    options = ["--board", "linux", "--hold", hold, "--duration", 0.5, "--json"]
    assert main(machine_run, *options, root=machine.root) == 0
    assert set(seen) == {limits or (115_200, 115_200)}
    assert machine.kernel.snapshot() == before
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["board"] == "linux"
    assert document["board_is_modelled"] is False
    watt = machine.kernel.devices["VDD_IN"].watts
    assert document["energy_j"] == pytest.approx(watt * document["duration_s"], rel=0.1)


@pytest.mark.parametrize("number", command.SIGNALS, ids=lambda number: number.name)
def test_real_board_is_left_as_it_was_after_a_signal(
    machine, machine_run, main, monkeypatch, number
):
    before, seen = machine.kernel.snapshot(), watch_limits(monkeypatch, machine)
    add = deploy.Summary.add

    def interrupt(self, info, decision_s):
        add(self, info, decision_s)
        if len(seen) == 3:
            signal.raise_signal(number)

    monkeypatch.setattr(deploy.Summary, "add", interrupt)
    assert main(machine_run, "--board", "linux", root=machine.root) == 0
    assert len(seen) == 3
    assert machine.kernel.snapshot() == before


def test_real_board_is_left_as_it_was_after_a_failure(machine, machine_run, main, monkeypatch):
    before, seen = machine.kernel.snapshot(), watch_limits(monkeypatch, machine)
    decide = deploy.RunFolder.load(machine_run).policy.decide

    def fail_later(self, observation):
        if len(seen) == 2:
            raise KeyboardInterrupt
        return decide(observation)

    monkeypatch.setattr("agents.policy.frozen.FrozenPolicy.decide", fail_later)
    assert main(machine_run, "--board", "linux", root=machine.root) == 130
    assert machine.kernel.snapshot() == before


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), OSError(12, "no memory")]
)
def test_real_board_is_left_as_it_was_for_want_of_memory(
    machine, machine_run, main, monkeypatch, capfd, error
):
    before, seen = machine.kernel.snapshot(), watch_limits(monkeypatch, machine)
    decide = deploy.RunFolder.load(machine_run).policy.decide

    def fail_later(self, observation):
        if len(seen) == 2:
            raise error
        return decide(observation)

    monkeypatch.setattr("agents.policy.frozen.FrozenPolicy.decide", fail_later)
    arguments = (machine_run, "--board", "linux")
    assert command.run(lambda: main(*arguments, root=machine.root)) == 2
    assert capfd.readouterr().err.startswith("error: this process ")
    assert machine.kernel.snapshot() == before


@pytest.mark.parametrize("megabytes", [150, 250, 300, 350])
def test_a_small_address_space_is_one_sentence(edge_run, photographs, megabytes):
    """Memory for the libraries, for threads, or for gRPC's own threads, which waits for ever."""
    bound = megabytes * 10**6
    result = subprocess.run(
        [sys.executable, "deploy.py", "--run", edge_run, "--listen=127.0.0.1:0", "--duration=0.3"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (bound, bound)),
    )
    if result.returncode:
        one_sentence(result)


def test_dry_run_prints_each_write_and_makes_none(machine, machine_run, main, monkeypatch, capsys):
    seen = watch_limits(monkeypatch, machine)
    options = ["--board", "linux", "--dry-run", "--duration", 1.3, "--json"]
    assert main(machine_run, *options, root=machine.root) == 0
    assert set(seen) == {(115_200, 1_510_400)}
    assert machine.kernel.writes == []
    assert [path.name for path in (machine.root / STATE_DIR).iterdir()] == ["lock"]
    lines = capsys.readouterr().out.splitlines()
    maximum = machine.path("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq")
    assert f"would write 115200 to {maximum} (now 1510400)" in lines
    assert any("would set" in line for line in lines)
    assert json.loads(lines[-1])["dry_run"] is True


def test_emulated_board_is_driven_and_lets_the_process_go(
    tiny, small_device, tmp_path, main, monkeypatch, capsys
):
    """Shares of the processor are compared: energy hangs on what else the machine does."""
    device, allow = DeviceModel.load(small_device), QuotaGroup.allow
    allowed: list[float] = []

    def watched(self: QuotaGroup, share: float) -> None:
        allowed.append(share)
        allow(self, share)

    def run(number: int) -> dict[str, object]:
        allowed.clear()
        with EmulatedBoard(device, Sysfs(), journal=tmp_path) as board:
            layout = live_layout(board, tiny, 10.0)
        policy = constant_policy(layout, (number, 4))
        path = write_run(tmp_path / f"emulated-run{number}", policy, small_device, tiny.path)
        assert main(path, "--board", "emulated", "--duration", 1.5, "--json") == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    monkeypatch.setattr(QuotaGroup, "allow", watched)
    before = Path("/proc/self/cgroup").read_text()
    lowest_hz, *_, highest_hz = device.domains["cpu"].available_hz
    slow = run(0)
    assert allowed == [lowest_hz / highest_hz]
    assert run(-1)["energy_j"] > 0.0
    assert allowed == []
    assert Path("/proc/self/cgroup").read_text() == before
    assert (slow["board"], slow["board_is_modelled"]) == ("tx2", True)
    assert slow["energy_j"] > 0.0


@pytest.mark.parametrize(("providers", "told"), [([CPU], 1), ([*PROVIDERS], 0)])
def test_a_gpu_that_computes_nothing_is_told(
    machine, machine_run, main, monkeypatch, caplog, providers, told
):
    monkeypatch.setattr("envs.make.installed_providers", lambda: providers)
    options = ["--board", "linux", "--dry-run", "--duration", 0.3]
    assert main(machine_run, *options, root=machine.root) == 0
    assert caplog.text.count("computes on the processor only") == told


def test_board_of_another_kind_is_refused_untouched(machine, edge_run, refusal):
    message = refusal(edge_run, "--board", "linux", root=machine.root)
    assert "the cpu goes up to 1510 MHz here, that of tx2 to 2035 MHz" in message
    assert machine.kernel.writes == []


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
        ("--board", "sim, emulated, linux"),
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
    assert f"{source} is not a folder" in refusal(edge_run, "--source", source)
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
