"""A network on two Ray nodes of this machine, supervised."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from common import extras
from tests.cluster.bed import cpu_s
from tests.cluster.local_ray import LABEL, REPOSITORY
from tests.conftest import one_sentence

pytestmark = pytest.mark.timeout(900)  # on a busy machine Ray takes minutes to start
CLUSTER = """
schema_version = 1
[switch]
rate_bps = 1e9
[[devices]]
name = "a"
flops_per_s = 1e9
memory_bytes = 500_000_000
[[devices]]
name = "b"
flops_per_s = 1e9
memory_bytes = 500_000_000
"""


@pytest.fixture
def cluster_file(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(CLUSTER)
    return path


def command(tiny, cluster_file, address):
    return (
        "partition.placement.run", "--model", tiny.path, "--cluster", cluster_file,
        "--ray", address,
    )  # fmt: skip


def test_both_devices_take_part_and_every_frame_is_right(tiny, local_ray, cluster_file):
    arguments = command(tiny, cluster_file, local_ray.address)
    done = local_ray.run(*arguments, "--frames", 100, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["frames"], result["wrong"]) == (100, 0)
    assert result["largest_error"] < 1e-5
    (placement,) = result["placements"]
    assert {stage["device"] for stage in placement["stages"]} == {"a", "b"}
    assert placement["measured_frames_per_s"] > 0


@pytest.mark.parametrize("spare", [(), ("--spare",)], ids=["restarted", "spare"])
def test_a_killed_stage_is_back_and_no_frame_is_lost(tiny, local_ray, cluster_file, spare):
    arguments = command(tiny, cluster_file, local_ray.address)
    process = local_ray.popen(*arguments, "--frames", 3000, "--json", *spare)
    due_s = time.monotonic() + 180
    while len(stages := local_ray.actors("StageActor")) < 2 + 2 * len(spare):
        assert time.monotonic() < due_s, "no stages"
        time.sleep(0.2)
    time.sleep(2)
    os.kill(max(stages, key=cpu_s), signal.SIGKILL)  # spare ones have done nothing yet
    out, error = process.communicate(timeout=280)
    assert process.returncode == 0, error
    result = json.loads(out.splitlines()[-1])
    assert (result["frames"], result["wrong"]) == (3000, 0)
    assert len(result["breaks"]) == 1, result["placements"]
    assert result["breaks"][0]["seconds"] < 10
    assert not local_ray.actors("StageActor")


def test_a_killed_replica_leaves_its_share_and_comes_back(tiny, local_ray, cluster_file):
    arguments = command(tiny, cluster_file, local_ray.address)
    process = local_ray.popen(*arguments, "--frames", 6000, "--json", "--replicas", 2)
    due_s = time.monotonic() + 180
    while len(stages := local_ray.actors("StageActor")) < 2:
        assert time.monotonic() < due_s, "no stages"
        time.sleep(0.2)
    time.sleep(2)
    os.kill(max(stages, key=cpu_s), signal.SIGKILL)
    out, error = process.communicate(timeout=280)
    assert process.returncode == 0, error
    result = json.loads(out.splitlines()[-1])
    assert (result["frames"], result["wrong"]) == (6000, 0)
    (placement,) = result["placements"]
    assert [stage["device"] for stage in placement["stages"]] == ["a", "b"]
    assert len({(stage["start"], stage["end"]) for stage in placement["stages"]}) == 1
    assert all(stage["frames"] > 0 for stage in placement["stages"])
    lost, *back = result["breaks"]
    assert lost["seconds"] < 10
    # None where it is back before the line goes on; what it counts, it has counted since.
    assert [each["reason"].split()[0] for each in back] in ([], ["replica"])


def test_a_device_without_a_node_is_named_and_the_rest_works(tiny, local_ray, cluster_file):
    cluster_file.write_text(CLUSTER.replace('"b"', '"absent"'))
    done = local_ray.run(*command(tiny, cluster_file, local_ray.address), "--frames", 20)
    assert done.returncode == 0, done.stderr
    assert "device 'absent' has no Ray node, it is used once it has" in done.stdout
    assert f"--labels {LABEL}=absent" in done.stdout
    assert "20 frames, 0 wrong" in done.stdout
    cluster_file.write_text(CLUSTER.replace('"a"', '"gone"').replace('"b"', '"absent"'))
    sentence = one_sentence(local_ray.run(*command(tiny, cluster_file, local_ray.address)))
    assert "device 'absent' has no Ray node" in sentence


def test_a_plan_whose_source_has_no_node_is_refused(tiny, local_ray, cluster_file, tmp_path):
    path = tmp_path / "plan.json"
    stages = [{"devices": ["a"], "last_block": tiny.cuts[-1].name}]
    path.write_text(json.dumps({"stages": stages}))
    source = 'source = "absent"\n[switch]'
    absent = '[[devices]]\nname = "absent"\nflops_per_s = 1e9\nmemory_bytes = 500_000_000\n'
    cluster_file.write_text(CLUSTER.replace("[switch]", source) + absent)
    arguments = command(tiny, cluster_file, local_ray.address)
    sentence = one_sentence(local_ray.run(*arguments, "--plan", path))
    assert "device 'absent' has no Ray node" in sentence


FAST = '[[devices]]\nname = "c"\nflops_per_s = 1e11\nmemory_bytes = 500_000_000\n'


@pytest.mark.skipif(os.geteuid() != 0, reason="hides a folder from a node, which takes root")
def test_a_device_that_cannot_run_a_stage_is_left_out(tiny, local_ray, cluster_file):
    cluster_file.write_text(CLUSTER + FAST)
    with local_ray.joined("c", without=tiny.path):
        done = local_ray.run(*command(tiny, cluster_file, local_ray.address), "--frames", 20)
    assert done.returncode == 0, done.stderr
    assert "left out: device 'c' cannot run a stage (model folder" in done.stdout
    assert "20 frames, 0 wrong" in done.stdout


def test_a_device_that_joins_is_used(tiny, local_ray, cluster_file):
    cluster_file.write_text(CLUSTER + FAST)
    arguments = command(tiny, cluster_file, local_ray.address)
    process = local_ray.popen(*arguments, "--frames", 10**6)
    try:
        said = iter(process.stdout.readline, "")
        assert any(line.startswith("first placement: ") for line in said)
        with local_ray.joined("c"):
            assert any(line.startswith("c has joined: c 0-") for line in said)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_no_cluster_is_said(tiny, cluster_file, local_ray):
    done = local_ray.run(*command(tiny, cluster_file, "127.0.0.1:1"))
    assert "ray start --head" in one_sentence(done)


def test_without_ray_the_extra_is_named(tiny, cluster_file):
    code = (
        "import sys, runpy; sys.modules['ray'] = None; "
        "runpy.run_module('partition.placement.run', run_name='__main__')"
    )
    arguments = list(map(str, command(tiny, cluster_file, "auto")[1:]))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert extras.install("cluster") in one_sentence(done)
