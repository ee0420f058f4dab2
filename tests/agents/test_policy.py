from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from agents.deployed.run_folder import load_policy
from agents.errors import PolicyError
from agents.policy import checksum
from agents.policy.frozen import FrozenPolicy
from envs.spaces import observation_fields
from tests.runs import constant_policy

ACTION = (2, 0, 1, 3)
N_FIELDS = 24


@pytest.fixture
def folder(small_world, tmp_path):
    path = tmp_path / "policy"
    constant_policy(small_world.layout, ACTION).save(path)
    return path


def rewrite(folder, **changes) -> None:
    """Change the document and keep its checksum right, where it can be."""
    document = json.loads((folder / "policy.json").read_text()) | changes
    with suppress(ValueError):  # not finite
        document = checksum.sealed(document)
    (folder / "policy.json").write_text(json.dumps(document))


def rewrite_weights(folder, **changes) -> None:
    """Change tensors and keep the checksum right."""
    blob = save(tensors_of(folder) | changes)
    (folder / "weights.safetensors").write_bytes(blob)
    rewrite(folder, weights_sha256=hashlib.sha256(blob).hexdigest())


def tensors_of(folder) -> dict[str, np.ndarray]:
    return load_file(folder / "weights.safetensors")


def refusal(folder) -> str:
    with pytest.raises(PolicyError) as error:
        load_policy(folder)
    return str(error.value)


def test_saved_policy_decides_the_same(policy, tmp_path):
    policy.save(tmp_path / "policy")
    loaded = load_policy(tmp_path / "policy")
    assert loaded.metadata == policy.metadata
    observations = np.random.default_rng(0).uniform(-1, 1, (500, N_FIELDS)).astype(np.float32)
    decided = np.concatenate([policy.decide(o[None]) for o in observations])
    np.testing.assert_array_equal(
        decided, np.concatenate([loaded.decide(o[None]) for o in observations])
    )
    assert len(np.unique(decided, axis=0)) > 1


def test_one_at_a_time_decides_as_in_a_batch(policy):
    observations = np.random.default_rng(1).uniform(-1, 1, (500, N_FIELDS)).astype(np.float32)
    batch = policy.decide(observations)
    single = np.concatenate([policy.decide(o[None]) for o in observations])
    # Rounding differs between a matrix and a vector product, so ties may fall either way.
    assert (batch == single).all(axis=1).mean() > 0.99


def test_layers_are_applied_in_order_with_the_bend_between(small_world):
    """Two layers by hand: score of CPU clock 1 is relu(x0) - 0.5, the others' is 0."""
    one = constant_policy(small_world.layout, (0, 0, 0, 0))
    first = np.zeros((1, N_FIELDS), np.float32)
    first[0, 0] = 1.0
    last, bias = np.zeros((14, 1), np.float32), np.zeros(14, np.float32)
    last[1, 0], bias[1] = 1.0, -0.5
    policy = FrozenPolicy(one.metadata, [(first, np.zeros(1, np.float32)), (last, bias)])
    for x0, choice in ((-1.0, 0), (0.4, 0), (0.6, 1)):
        observation = np.zeros(N_FIELDS, np.float32)
        observation[0] = x0
        assert policy.decide(observation[None])[0, 0] == choice
    bent = replace(one.metadata, activation="tanh")
    policy = FrozenPolicy(bent, [(first, np.zeros(1, np.float32)), (last, bias)])
    observation[0] = 0.54  # tanh(0.54) < 0.5
    assert policy.decide(observation[None])[0, 0] == 0


def test_box_head_squashes_and_snaps_to_bins(small_world):
    metadata = replace(constant_policy(small_world.layout, ACTION).metadata, head="box")
    bias = np.array([-9.0, 0.0, 9.0, 0.3], np.float32)
    policy = FrozenPolicy(metadata, [(np.zeros((4, N_FIELDS), np.float32), bias)])
    observation = np.zeros(N_FIELDS, np.float32)
    assert policy.decide(observation[None]).tolist() == [[0, 1, 2, 3]]
    assert policy.decide(np.tile(observation, (2, 1))).tolist() == [[0, 1, 2, 3]] * 2


def test_missing_folder_is_refused_with_what_to_give(tmp_path):
    message = refusal(tmp_path / "nowhere")
    assert "policy.json does not exist" in message
    assert "finished training run" in message


def test_half_written_policy_is_refused(folder):
    (folder / "weights.safetensors").unlink()
    assert "weights.safetensors cannot be read" in refusal(folder)


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 1', "\x00\xff"])
def test_truncated_metadata_is_refused(folder, text):
    (folder / "policy.json").write_text(text)
    assert "policy.json cannot be read" in refusal(folder)


def test_metadata_that_is_no_text_is_refused(folder):
    (folder / "policy.json").write_bytes(b"\xff\xfe\x00")
    assert "policy.json cannot be read" in refusal(folder)


@pytest.mark.parametrize("version", [0, 7, "2", None])
def test_other_schema_version_is_refused(folder, version):
    rewrite(folder, schema_version=version)
    message = refusal(folder)
    assert repr(version) in message
    assert "train again" in message


def test_a_policy_that_masks_its_actions_is_refused(folder):
    rewrite(folder, guard_margin_c=None)  # as earlier versions wrote all others
    load_policy(folder)
    rewrite(folder, algorithm="maskable-ppo", guard_margin_c=5.0)
    assert "maskable-ppo masks its actions" in (message := refusal(folder))
    assert "train another one" in message


@pytest.mark.parametrize("text", ["[]", "7", "null"])
def test_metadata_that_is_no_table_is_refused(folder, text):
    (folder / "policy.json").write_text(text)
    assert "schema version None" in refusal(folder)


@pytest.mark.parametrize("key", ["layout", "fields", "activation", "head"])
@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [1]])
def test_metadata_of_another_shape_is_refused(folder, key, value):
    rewrite(folder, **{key: value})
    assert f"{folder} is damaged" in refusal(folder)


@pytest.mark.parametrize("key", ["algorithm", "layout", "fields", "activation", "head"])
def test_missing_metadata_is_refused(folder, key):
    document = json.loads((folder / "policy.json").read_text())
    del document[key]
    (folder / "policy.json").write_text(json.dumps(checksum.sealed(document)))
    assert key in refusal(folder)


@pytest.mark.parametrize("keep", [0, 1, 7, 100, -1])
def test_truncated_weights_are_refused(folder, keep):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "is not what policy.json expects" in refusal(folder)


def test_one_flipped_bit_is_noticed(folder):
    path = folder / "weights.safetensors"
    blob = bytearray(path.read_bytes())
    blob[-3] ^= 1
    path.write_bytes(blob)
    assert "is not what policy.json expects" in refusal(folder)


def test_weights_that_are_no_safetensors_are_refused(folder):
    blob = b"\x80\x04K\x01."  # a pickle
    (folder / "weights.safetensors").write_bytes(blob)
    rewrite(folder, weights_sha256=hashlib.sha256(blob).hexdigest())
    assert "is damaged" in refusal(folder)


def test_a_layer_of_another_shape_is_refused(folder):
    rewrite_weights(folder, **{"0.weight": np.zeros((14, 16), np.float32)})
    assert "shape (14, 16)" in refusal(folder)


def test_too_few_outputs_are_refused(folder):
    narrow = {"0.weight": np.zeros((13, N_FIELDS), np.float32), "0.bias": np.zeros(13, np.float32)}
    rewrite_weights(folder, **narrow)
    assert "13 outputs, the axes 14" in refusal(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["0.weight", "0.bias"])
def test_a_weight_that_is_no_number_is_refused(folder, name, value):
    tensor = load_file(folder / "weights.safetensors")[name].copy()
    tensor.flat[0] = value
    rewrite_weights(folder, **{name: tensor})
    assert "not finite" in refusal(folder)


def test_a_missing_layer_is_refused(folder):
    tensors = load_file(folder / "weights.safetensors")
    blob = save({"1.weight": tensors["0.weight"], "1.bias": tensors["0.bias"]})
    (folder / "weights.safetensors").write_bytes(blob)
    rewrite(folder, weights_sha256=hashlib.sha256(blob).hexdigest())
    assert "is damaged" in refusal(folder)


def test_no_layer_at_all_is_refused(folder):
    blob = save({})
    (folder / "weights.safetensors").write_bytes(blob)
    rewrite(folder, weights_sha256=hashlib.sha256(blob).hexdigest())
    assert "outputs" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"board": "nano"}, "another board"),
        ({"board_fingerprint": "0"}, "clock tables"),
        ({"model": "resnet50"}, "another model"),
        ({"cut_list_fingerprint": "0"}, "split points"),
    ],
)
def test_policy_refuses_what_it_was_not_trained_for(small_world, change, what):
    policy = constant_policy(small_world.layout, ACTION)
    policy.check_layout(small_world.layout)
    with pytest.raises(PolicyError, match=f"{what}.*train one for this board and model"):
        policy.check_layout(replace(small_world.layout, **change))


@pytest.mark.parametrize("value", ["x", None, 0.0, -1.0])
def test_a_largest_power_that_is_no_power_is_refused(folder, value):
    document = json.loads((folder / "policy.json").read_text())
    rewrite(folder, layout=document["layout"] | {"max_power_w": value})
    assert "is damaged" in refusal(folder)


def test_policy_refuses_an_observation_with_other_bounds(folder, small_world):
    fields = json.loads((folder / "policy.json").read_text())["fields"]
    fields[0]["high"] *= 10.0
    rewrite(folder, fields=fields)
    with pytest.raises(PolicyError, match="trained on other observations"):
        load_policy(folder).check_layout(small_world.layout)


@pytest.mark.parametrize("change", [{"name": "npu"}, {"values": [1.0, 2.0, 3.0]}])
def test_policy_refuses_an_action_with_other_values(folder, small_world, change):
    layout = json.loads((folder / "policy.json").read_text())["layout"]
    layout["axes"][0] |= change
    rewrite(folder, layout=layout)
    with pytest.raises(PolicyError, match=r"observations or actions|another set of clocks"):
        load_policy(folder).check_layout(small_world.layout)


def test_a_bound_beyond_every_number_is_refused(folder):
    fields = json.loads((folder / "policy.json").read_text())["fields"]
    fields[1]["high"] = 10**400
    rewrite(folder, fields=fields)
    assert "is too large a number" in refusal(folder)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 5000])
def test_a_number_that_is_none_is_refused(folder, text):
    path = folder / "policy.json"
    path.write_text(path.read_text().replace('"max_power_w": ', f'"max_power_w": {text}, "x": '))
    assert re.search(
        r"policy\.json cannot be read \(.* is (no|too large a) number\)", refusal(folder)
    )


@pytest.mark.parametrize("value", [3e37, -3e37, 2e9])
@pytest.mark.parametrize("name", ["0.weight", "0.bias"])
def test_absurd_weights_are_refused(folder, name, value):
    rewrite_weights(folder, **{name: np.full_like(tensors_of(folder)[name], value)})
    assert "weights are absurd" in refusal(folder)


def test_tanh_bounds_what_the_next_layer_sees(small_world):
    """Large first weights only make steps of it."""
    layout = small_world.layout
    n, n_scores = len(observation_fields(layout)), sum(len(axis.values) for axis in layout.axes)
    layers = [
        (np.full((2, n), 1e7, np.float32), np.zeros(2, np.float32)),
        (np.ones((n_scores, 2), np.float32), np.zeros(n_scores, np.float32)),
    ]
    meta = replace(constant_policy(layout, ACTION).metadata, activation="tanh")
    assert FrozenPolicy(meta, layers).decide(np.ones((1, n), np.float32)).tolist() == [[0, 0, 0, 0]]
    layers[1] = (layers[1][0] * np.float32(1e3), layers[1][1])
    with pytest.raises(PolicyError, match="absurd"):
        FrozenPolicy(replace(meta, activation="relu"), layers)


@pytest.mark.parametrize("number", range(0, 400, 7))
def test_a_flipped_bit_of_policy_json_is_noticed(folder, number):
    """Even where the document stays JSON of the right shape."""
    path = folder / "policy.json"
    blob = bytearray(path.read_bytes())
    blob[len(blob) * number // 400] ^= 1
    if blob.split() != path.read_bytes().split():  # another space is the same document
        path.write_bytes(blob)
        refusal(folder)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64])
def test_a_layer_of_another_type_is_refused(folder, dtype):
    weight = load_file(folder / "weights.safetensors")["0.weight"].astype(dtype)
    rewrite_weights(folder, **{"0.weight": weight})
    assert "expected float32" in refusal(folder)


def test_a_bias_with_two_axes_is_refused(folder):
    bias = load_file(folder / "weights.safetensors")["0.bias"]
    rewrite_weights(folder, **{"0.bias": bias[:, None].copy()})
    assert "is damaged" in refusal(folder)


def test_policy_json_says_units_bounds_and_values(folder, small_world):
    document = json.loads((folder / "policy.json").read_text())
    assert document["schema_version"] == 6
    assert document["fields"][0] == {
        "name": "link_bps",
        "unit": "bit/s",
        "low": 1e5,
        "high": 1e9,
        "log": True,
    }
    axes = {axis["name"]: tuple(axis["values"]) for axis in document["layout"]["axes"]}
    assert axes == {axis.name: axis.values for axis in small_world.layout.axes}
