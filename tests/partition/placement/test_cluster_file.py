"""Cluster files, good and bad: one sentence that names what is wrong."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from instances import random_problem

from partition.placement.cluster import Cluster
from partition.placement.errors import ClusterError, InfeasibleError, PlacementError
from partition.placement.solver import diagnosis
from partition.placement.solver.problem import build_problem, memory_of_stages
from partition.placement.solver.solve import PlacementObjective, priced, solve

GOOD = """
schema_version = 1

[switch]
rate_bps = 1e8
delay_s = 0.001

[[devices]]
name = "pi"
count = 2
memory_bytes = 1e9
reserve_bytes = 2e8
flops_per_s = 5e9

[[devices]]
name = "nano"
memory_bytes = 4e9
flops_per_s = 4e10
"""


def load(tmp_path, text):
    path = tmp_path / "shelf.toml"
    path.write_text(text)
    return Cluster.load(path)


def test_a_table_with_a_count_is_several_devices(tmp_path):
    cluster = load(tmp_path, GOOD)
    assert [device.name for device in cluster.devices] == ["pi-1", "pi-2", "nano"]
    assert [device.free_bytes for device in cluster.devices] == [8e8, 8e8, 4e9]
    assert np.array_equal(cluster.rate_bps, 1e8 * (1 - np.eye(3)))


def test_a_link_overrides_the_switch_for_every_device_of_its_table(tmp_path):
    link = '[[links]]\nfrom = "nano"\nto = "pi"\nrate_bps = 1e6\n'
    both = load(tmp_path, GOOD + link)
    assert both.rate_bps[2].tolist() == [1e6, 1e6, 0]
    assert both.rate_bps[:, 2].tolist() == [1e6, 1e6, 0]
    one_way = load(tmp_path, GOOD + link + "one_way = true\n")
    assert one_way.rate_bps[2].tolist() == [1e6, 1e6, 0]
    assert one_way.rate_bps[:, 2].tolist() == [1e8, 1e8, 0]


DEVICE = '[[devices]]\nname = "x"\nmemory_bytes = 1e9\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GOOD + "colour = 3\n", "devices[1].colour = 3 is no known key; remove it"),
        ("wifi = 1\n" + GOOD, "wifi = 1 is no known key; remove it"),
        (GOOD.replace("1e8", "0"), "switch.rate_bps is 0; give a number > 0"),
        (
            GOOD + '[[links]]\nfrom = "pi"\nto = "nano"\nrate_bps = 0.0\n',
            "links[0].rate_bps is 0; give a number > 0",
        ),
        (GOOD.replace("4e10", "0"), "devices[1].flops_per_s is 0; give a number > 0"),
        (GOOD.replace("4e10", "nan"), "devices[1].flops_per_s is nan; give a finite number"),
        (GOOD.replace("4e10", '"fast"'), "devices[1].flops_per_s is 'fast'; give a number"),
        (
            GOOD + '[[links]]\nfrom = "pi-3"\nto = "nano"\nrate_bps = 1e6\n',
            "links[0].from = 'pi-3' is no device",
        ),
        (GOOD[: GOOD.index("[switch]")] + DEVICE, "flops_per_s or block_s or profile"),
        (
            "schema_version = 1\n" + GOOD[GOOD.index("[[devices]]") :],
            "device 'pi-2' cannot be reached from 'pi-1': add a link",
        ),
        (GOOD.replace("schema_version = 1", "schema_version = 2"), "this version reads 1"),
        (GOOD.replace("schema_version = 1", 'schema_version = 1\nsource = "pi"'), "source = 'pi'"),
        (
            GOOD.replace("schema_version = 1", 'schema_version = 1\ncodec = "zip"'),
            "codec is 'zip'; use one of none, int8",
        ),
        (
            GOOD.replace("schema_version = 1", 'schema_version = 1\ncodec = "int8"'),
            "devices[0].codec_bytes_per_s is missing; codec 'int8' takes time",
        ),
        (
            GOOD + DEVICE.replace('"x"', '"pi-1"') + "flops_per_s = 1\n",
            "devices[2].name = 'pi-1' is taken",
        ),
        (GOOD.replace("1e9", "-5"), "devices[0].memory_bytes is -5; give a whole number >= 1"),
        (GOOD.replace("2e8", "1e9"), "devices[0].reserve_bytes is 1000000000, all of memory"),
        (
            GOOD + "block_s = [1]\n",
            "devices[1].flops_per_s or block_s or profile; give exactly one",
        ),
        (GOOD + "block_s = []\n", "devices[1].block_s is a list of 0; give a list of length >= 1"),
        (GOOD.replace("1e9", '"1e9"'), "devices[0].memory_bytes is '1e9'; give a whole number"),
        (GOOD.replace("1e9", "true"), "devices[0].memory_bytes is True; give a whole number"),
        (GOOD.replace("1e9", "1.5"), "devices[0].memory_bytes is 1.5; give a whole number"),
        (GOOD.replace("1e9", "9" * 30), "devices[0].memory_bytes is 9999"),
        (GOOD.replace("4e10", "inf"), "devices[1].flops_per_s is inf; give a finite number"),
        (GOOD.replace("4e10", "9" * 400), "is 9999999999"),
        (GOOD.replace("count = 2", "count = 1e15"), "devices[0].count is 1000000000000000; give"),
        (
            GOOD.replace('name = "nano"', 'name = " "'),
            "devices[1].name is ' '; give a text that is",
        ),
        ("devices = 3\n" + GOOD[:20], "devices is 3; give a list"),
        (GOOD + '"a - at `$.b`" = 1\n', "no known"),
        ('"a` - at `$.b" = 1\n' + GOOD, "b: Object contains unknown field `a`"),
        (
            GOOD + "clocks = [{hz = 1e9, speed = 0.5, busy_w = 3}]\n",
            "devices[1].clocks lack one of speed 1",
        ),
        (
            GOOD + "clocks = [{hz = 1e9, speed = 2, busy_w = 3}]\n",
            "devices[1].clocks[0].speed is 2; give a number <= 1",
        ),
        (GOOD + "position = [1]\n", "devices[1].position is a list of 1; give a list of length 2"),
        ("schema_version = 1\n", "devices is missing; add at least one"),
        ("schema_version =\n", "cannot be read"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, text, sentence):
    with pytest.raises(ClusterError) as error:
        load(tmp_path, text)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


SPARE = """
[[devices]]
name = "spare"
memory_bytes = 8e9
flops_per_s = 1e12
"""


def test_a_device_without_a_link_is_left_out_and_named(tmp_path, tiny):
    text = GOOD.replace("[switch]\nrate_bps = 1e8\ndelay_s = 0.001\n", "")
    text += '[[links]]\nfrom = "nano"\nto = "pi"\nrate_bps = 1e6\n'
    cluster = load(tmp_path, text + SPARE)
    assert [(left.name, left.reason) for left in cluster.left_out] == [("spare", "has no link")]
    assert [device.name for device in cluster.devices] == ["pi-1", "pi-2", "nano"]
    assert cluster.rate_bps.shape == cluster.delay_s.shape == (3, 3)
    assert solve(build_problem(tiny, cluster), PlacementObjective()).proved


def test_what_no_frame_can_get_to_or_away_from_is_left_out(tmp_path):
    ends = 'schema_version = 1\nsource = "pi-1"\nsink = "pi-2"'
    text = GOOD.replace("schema_version = 1", ends)
    text = text.replace("[switch]\nrate_bps = 1e8\ndelay_s = 0.001\n", "")
    one_way = "rate_bps = 1e6\none_way = true\n"
    text += '[[links]]\nfrom = "pi-1"\nto = "pi-2"\nrate_bps = 1e6\n'
    to_nano = load(tmp_path, text + f'[[links]]\nfrom = "pi-1"\nto = "nano"\n{one_way}')
    assert [(d.name, d.reason) for d in to_nano.left_out] == [("nano", "cannot reach 'pi-2'")]
    text += f'[[links]]\nfrom = "nano"\nto = "pi-2"\n{one_way}'
    from_nano = load(tmp_path, text)
    assert [d.reason for d in from_nano.left_out] == ["cannot be reached from 'pi-1'"]
    assert (from_nano.source, from_nano.sink) == (0, 1)


@pytest.mark.parametrize(
    ("ends", "link", "sentence"),
    [
        ('sink = "nano"', ("nano", "pi"), "sink 'nano' cannot be reached from any other device"),
        ('source = "pi-1"\nsink = "nano"', ("pi-1", "pi-2"), "sink 'nano' cannot be reached from"),
        ('source = "nano"', ("pi-1", "pi-2"), "device 'pi-1' cannot be reached from 'nano'"),
        (
            'source = "pi-1"\nsink = "nano"',
            ("nano", "pi-1"),
            "device 'pi-2' cannot be reached from 'pi-1'",
        ),
    ],
)
def test_ends_without_links_are_refused(tmp_path, ends, link, sentence):
    text = GOOD.replace("schema_version = 1", "schema_version = 1\n" + ends)
    text = text.replace("[switch]\nrate_bps = 1e8\ndelay_s = 0.001\n", "")
    text += f'[[links]]\nfrom = "{link[0]}"\nto = "{link[1]}"\nrate_bps = 1e6\none_way = true\n'
    with pytest.raises(ClusterError, match=sentence):
        load(tmp_path, text)


def test_a_source_cannot_reach_against_the_direction_of_links(tmp_path):
    text = GOOD.replace("schema_version = 1", 'schema_version = 1\nsource = "pi-1"')
    text = text.replace("[switch]\nrate_bps = 1e8\ndelay_s = 0.001\n", "")
    text += '[[links]]\nfrom = "nano"\nto = "pi"\nrate_bps = 1e6\none_way = true\n'
    with pytest.raises(ClusterError, match="'pi-2' cannot be reached from 'pi-1'"):
        load(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ClusterError, match=r"nothing\.toml does not exist"):
        Cluster.load(tmp_path / "nothing.toml")


def by_weights(sizes, room, cuts=None, queue_depth=0):
    """Blocks that hold weights alone, and cuts, on devices with so much room."""
    problem = random_problem(0, n=len(room), n_blocks=len(sizes))
    weights = np.concatenate([[0], np.cumsum(sizes)])
    nothing = np.zeros(len(weights), dtype=np.int64)
    cut_bytes = nothing if cuts is None else np.array(cuts, dtype=np.int64)
    return replace(
        problem,
        source=None,
        sink=None,
        cut_bytes=cut_bytes,
        bytes_per_s=1e6 * (1 - np.eye(len(room))),
        stage_bytes=memory_of_stages(list(weights), list(nothing), cut_bytes, queue_depth),
        capacity_bytes=np.array(room),
    )


def test_a_block_that_no_device_holds_is_named_with_the_missing_bytes():
    with pytest.raises(InfeasibleError) as error:
        solve(by_weights([3, 27, 4], [10, 20]), PlacementObjective())
    sentence = str(error.value)
    assert "block 'block 1' needs 27 bytes, 7 more than the largest device 'device 1'" in sentence
    assert "has free (20), and no other cuts need less: add memory or a larger device" in sentence


def test_a_block_that_needs_more_alone_than_with_its_neighbours_is_no_reason_to_refuse():
    # The first two blocks alone need 10 + 4 * 50 bytes and more, both in one stage 20 + 4 * 1.
    fits = by_weights([10, 10, 10], [24, 14], cuts=[0, 50, 1, 0], queue_depth=3)
    assert [(s.start, s.end) for s in solve(fits, PlacementObjective()).stages] == [(0, 2), (2, 3)]
    sentence = "blocks 'block 0' to 'block 1' in one stage need 24 bytes, 4 more than the largest"
    with pytest.raises(InfeasibleError, match=sentence):
        solve(replace(fits, capacity_bytes=np.array([20, 14])), PlacementObjective())


def test_blocks_that_each_fit_in_some_stage_but_not_in_one_row_are_refused_with_a_true_size():
    stage_bytes = by_weights([1, 1, 1], [5, 5]).stage_bytes.copy()
    stage_bytes[0, 1], stage_bytes[2, 3] = (
        9,
        9,
    )  # 0-2 fits and 1-3 fits, but not one after the other
    problem = replace(by_weights([1, 1, 1], [5, 5]), stage_bytes=stage_bytes)
    stage_bytes[0, 3] = 8
    with pytest.raises(InfeasibleError, match="need 8 bytes, 3 more than the largest"):
        solve(problem, PlacementObjective())


def test_more_memory_is_no_remedy_where_the_memory_limit_binds(tmp_path, tiny):
    cluster = load(tmp_path, GOOD)
    with pytest.raises(InfeasibleError, match=r"more than the largest .*: raise --memory-limit$"):
        solve(build_problem(tiny, cluster, memory_limit_bytes=9), PlacementObjective())
    problem = replace(by_weights([10] * 4, [15, 15]), memory_limit_bytes=15)
    with pytest.raises(InfeasibleError, match=r"together.*: raise --memory-limit, add memory or"):
        solve(problem, PlacementObjective())


def test_too_little_memory_in_total_says_how_much():
    sentence = r"needs 40 bytes on all devices together, 10 more than they have free \(30\)"
    with pytest.raises(InfeasibleError, match=sentence):
        solve(by_weights([10, 10, 10, 10], [15, 15]), PlacementObjective())


def test_memory_that_fits_in_total_but_not_in_pieces_says_where_and_how_much():
    with pytest.raises(InfeasibleError) as error:
        solve(by_weights([6, 6, 6], [9, 9]), PlacementObjective())
    assert "from block 'block 2' on there is no room, 3 bytes are missing" in str(error.value)
    assert solve(by_weights([6, 6, 6], [12, 12]), PlacementObjective()).proved


def test_links_that_lead_nowhere_are_said_to_be_missing():
    problem = by_weights([6, 6, 6], [9, 9, 9])
    one_way = np.zeros((3, 3))
    one_way[0, [1, 2]] = 1e6
    with pytest.raises(InfeasibleError, match="from block 'block 2' on there is no room, 3 bytes"):
        solve(replace(problem, bytes_per_s=one_way), PlacementObjective())
    alone = replace(problem, bytes_per_s=np.zeros((3, 3)), source=0, sink=1)
    with pytest.raises(InfeasibleError, match="no links lead from device to device"):
        solve(alone, PlacementObjective())


def test_no_bytes_are_named_where_time_was_too_short_to_find_them():
    problem = by_weights([6, 6, 6], [9, 9])
    error = diagnosis.explain(problem, proved=True, limit="", seconds=0.0)
    assert re.search(r"at most \d+ bytes are missing on every device: add memory or", str(error))
    with mock.patch.object(diagnosis, "fits", return_value=None):
        error = diagnosis.explain(problem, proved=True, limit="", seconds=1.0)
        assert "there is no room: add memory or devices, or links" in str(error)
        error = diagnosis.explain(problem, proved=True, limit=" at 3 Hz", seconds=1.0)
        assert "no placement keeps up at 3 Hz: lower --rate" in str(error)


def test_a_rate_that_cannot_be_kept_says_so(tmp_path, tiny):
    problem = build_problem(tiny, load(tmp_path, GOOD))
    with pytest.raises(InfeasibleError, match="keeps up at 1e\\+09 frames per second"):
        solve(problem, PlacementObjective(objective="latency", rate_hz=1e9))


def test_a_latency_that_cannot_be_met_says_what_can(tmp_path, tiny):
    problem = build_problem(tiny, load(tmp_path, GOOD))
    with pytest.raises(InfeasibleError, match="no placement answers within 1e-09 s"):
        solve(problem, PlacementObjective(max_latency_s=1e-9))


def test_energy_needs_power_and_a_rate(tmp_path, tiny):
    problem = build_problem(tiny, load(tmp_path, GOOD))
    with pytest.raises(PlacementError, match="device 'pi-1' has no clocks with busy_w"):
        solve(problem, PlacementObjective(objective="energy", rate_hz=1.0))
    with pytest.raises(PlacementError, match="energy needs --rate"):
        PlacementObjective(objective="energy")


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"rate_hz": 3.0}, "leave --rate out"),
        ({"objective": "latency", "max_latency_s": 1.0}, "--max-latency limits"),
        ({"objective": "latency", "max_replicas": 2}, "replicas serve"),
    ],
)
def test_wishes_that_contradict_themselves_are_refused(wish, sentence):
    with pytest.raises(PlacementError, match=sentence):
        PlacementObjective(**wish)


def test_times_come_from_a_profile_of_the_same_network(tmp_path, tiny):
    blocks = [{"latency_s": 0.001 * (k + 1)} for k in range(len(tiny.cuts) - 1)]
    (tmp_path / "pi.json").write_text(
        json.dumps({"fingerprint": tiny.fingerprint, "blocks": blocks})
    )
    text = GOOD.replace("flops_per_s = 5e9", 'profile = "pi.json"')
    problem = build_problem(tiny, load(tmp_path, text))
    assert problem.block_s[0].tolist() == [block["latency_s"] for block in blocks]
    (tmp_path / "pi.json").write_text(json.dumps({"fingerprint": "another", "blocks": blocks}))
    with pytest.raises(ClusterError, match="'pi-1' was profiled with network another"):
        build_problem(tiny, load(tmp_path, text))
    (tmp_path / "pi.json").write_text("{}")
    with pytest.raises(ClusterError, match=r"pi\.json' cannot be read"):
        load(tmp_path, text)
    short = GOOD.replace("flops_per_s = 5e9", "block_s = [0.1]")
    with pytest.raises(ClusterError, match="'pi-1' has 1 block times"):
        build_problem(tiny, load(tmp_path, short))


def test_int8_sends_what_the_wire_takes_and_charges_both_ends(tmp_path, tiny):
    text = GOOD.replace("schema_version = 1", 'schema_version = 1\ncodec = "int8"')
    text = text.replace("memory_bytes", "codec_bytes_per_s = 1e8\nmemory_bytes")
    problem = build_problem(tiny, load(tmp_path, text))
    cut = 1
    assert problem.cut_bytes[cut] == tiny.cuts[cut].wire_bytes
    expected_s = tiny.cuts[cut].float32_bytes / 1e8
    assert problem.encode_s[0, cut] == problem.decode_s[0, cut] == pytest.approx(expected_s)
    assert problem.encode_s[0, -1] == problem.decode_s[0, 0] == problem.input_encode_s == 0.0
    whole_s = problem.block_s[0].sum()
    assert problem.stage_s(0, 0, len(tiny.cuts) - 1) == pytest.approx(whole_s)
    head_s = problem.block_s[0, :cut].sum() + expected_s
    assert problem.stage_s(0, 0, cut) == pytest.approx(head_s)


def test_the_source_encodes_the_input_for_whoever_is_first_and_that_one_decodes_it(tmp_path, tiny):
    text = GOOD.replace("schema_version = 1", 'schema_version = 1\ncodec = "int8"\nsource = "pi-1"')
    text = text.replace("memory_bytes", "codec_bytes_per_s = 1e7\nmemory_bytes")
    problem = build_problem(tiny, load(tmp_path, text))
    input_s = tiny.cuts[0].coded_bytes / 1e7
    assert problem.input_encode_s == pytest.approx(input_s)
    assert problem.entry_period_s[1] >= input_s
    assert problem.entry_period_s[0] == problem.decode_s[0, 0] == 0.0
    assert problem.decode_s[1, 0] == pytest.approx(input_s)
    last = problem.n_blocks
    later_s = problem.block_s[0, 1:].sum() + problem.decode_s[0, 1] + input_s
    assert problem.stage_s(0, 1, last) == pytest.approx(later_s)
    assert problem.stage_s(0, 0, last) == pytest.approx(problem.block_s[0].sum())
    placed = [((1,), 0, 1), ((0,), 1, last)]
    wish = PlacementObjective(objective="latency")
    plan = priced(problem, wish, placed, 0.0)
    ways_s = problem.entry_s[1] + problem.transfer_s(1, 1, 0) + 2 * 0.001
    computed_s = problem.stage_s(1, 0, 1) + later_s - input_s
    assert plan.latency_s == pytest.approx(input_s + computed_s + ways_s)
    slow = GOOD.replace("schema_version = 1", 'schema_version = 1\ncodec = "int8"\nsource = "pi-1"')
    slow = slow.replace("memory_bytes", "codec_bytes_per_s = 1e5\nmemory_bytes", 1)
    slow = slow.replace("memory_bytes = 4e9", "codec_bytes_per_s = 1e9\nmemory_bytes = 4e9")
    problem = build_problem(tiny, load(tmp_path, slow))
    plan = priced(problem, PlacementObjective(), [((2,), 0, last)], 0.0)
    assert plan.binding == "encoding of the input on pi-1"
    assert plan.period_s == plan.encode_s == problem.input_encode_s
