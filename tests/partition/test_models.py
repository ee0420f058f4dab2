"""Any model: networks of every kind become folders whose cuts give what the whole gives.

A part of the matrix; `python -m benchmarks.models` runs all of it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from partition.errors import ModelExportError
from partition.model.runtime import SplitRuntime, random_inputs
from partition.prepare.build import prepare
from partition.prepare.zoo import Source
from tests.partition.architectures import ARCHITECTURES
from tests.partition.splitting import RELATIVE_ERROR, measure

DYNAMIC = (
    "inception",
    "unet",
    "shuffle-net",
    "perceptron",
    "siamese",
    "detector",
    "masked-pool",
    "vit",
    "swin",
    "resnet",
    "bert",
    "t5-encoder",
)
STATIC = ("squeeze-excite", "recurrent", "clip-vision")


def made(name, tmp_path, **options):
    return prepare(Source(name, ARCHITECTURES[name]), tmp_path / name, **options)


@pytest.mark.parametrize("name", DYNAMIC)
def test_head_and_tail_equal_the_whole_with_any_batch(name, tmp_path):
    folder = made(name, tmp_path)
    assert folder.dynamic_batch
    result = measure(folder)
    assert result.batches == (1, 3)
    assert result.cuts >= 4
    assert result.worst_error <= RELATIVE_ERROR, result


@pytest.mark.parametrize("name", STATIC)
def test_head_and_tail_equal_the_whole_with_one_sample(name, tmp_path):
    folder = made(name, tmp_path, dynamic_batch=False)
    assert not folder.dynamic_batch
    assert measure(folder).worst_error <= RELATIVE_ERROR


def test_a_prepared_transformer_computes_what_torch_computes(tmp_path):
    torch.manual_seed(0)
    network, example = ARCHITECTURES["distilbert"]()
    folder = prepare(Source("distilbert", lambda: (network, example)), tmp_path / "distilbert")
    inputs = random_inputs(folder, 2)
    with torch.no_grad():
        expected = network(*map(torch.from_numpy, inputs)).logits.numpy()
    (logits,) = SplitRuntime(folder).whole(inputs)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-5)


class _MixesSamples(torch.nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)


class _TwoDimensions(torch.nn.Module):
    def forward(self, x, weight):
        return x @ weight


def test_a_network_that_mixes_samples_takes_one_at_a_time(tmp_path):
    source = Source("mixes", lambda: (_MixesSamples(), torch.rand(4, 8)))
    folder = prepare(source, tmp_path / "mixes")
    assert not folder.dynamic_batch
    assert folder.input_shape == (1, 8)


def test_inputs_without_a_common_first_dimension_are_taken_as_they_are(tmp_path):
    source = Source("product", lambda: (_TwoDimensions(), (torch.rand(2, 4), torch.rand(4, 3))))
    folder = prepare(source, tmp_path / "product")
    assert not folder.dynamic_batch
    assert [spec.shape for spec in folder.inputs] == [(2, 4), (4, 3)]
    assert folder.outputs[0].shape == (2, 3)


class _Branches(torch.nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return 2 * x
        return x


class _Counts(torch.nn.Module):
    def forward(self, x):
        return x.new_zeros(int(x.sum().item()))


@pytest.mark.parametrize(
    ("network", "line"), [(_Branches, "if x.sum() > 0:"), (_Counts, "int(x.sum().item())")]
)
def test_what_cannot_be_exported_fails_with_the_reason_and_the_line(tmp_path, network, line):
    source = Source("depends", lambda: (network(), torch.ones(2, 4)))
    with pytest.raises(ModelExportError) as error:
        prepare(source, tmp_path / "depends")
    sentence = str(error.value)
    assert __file__ in sentence
    assert line in sentence
    assert "data-dependent" in sentence
    assert not (tmp_path / "depends").exists()


class _SevenDimensions(torch.nn.Module):
    def forward(self, x):
        return x.reshape(-1, 1, 1, 1, 1, 2, 2)


def test_what_no_message_carries_is_refused(tmp_path):
    source = Source("deep", lambda: (_SevenDimensions(), torch.ones(2, 4)))
    with pytest.raises(ModelExportError, match=r"up to 6 dimensions of .* can cross"):
        prepare(source, tmp_path / "deep")


def test_a_folder_says_what_goes_in_and_comes_out(tmp_path):
    folder = made("detector", tmp_path)
    assert [(spec.dtype, spec.shape) for spec in folder.inputs] == [("float32", (1, 3, 64, 64))]
    types = [(spec.dtype, spec.shape) for spec in folder.outputs]
    assert types == [("float32", (1, 4, 256)), ("int64", (1, 256)), ("bool", (1, 256))]
    assert folder.preprocess is None
    text = made("masked-pool", tmp_path)
    assert [(spec.name, spec.dtype) for spec in text.inputs] == [
        ("tokens", "int64"),
        ("mask", "bool"),
    ]
    crossing = {dtype for cut in text.cuts[1:-1] for dtype in cut.dtypes}
    assert crossing >= {"float32", "bool"}


def test_an_onnx_file_with_a_free_batch_keeps_it(tmp_path):
    path = tmp_path / "perceptron.onnx"
    program = torch.onnx.export(
        ARCHITECTURES["perceptron"]()[0].eval(),
        (torch.rand(2, 40),),
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        dynamo=True,
        verbose=False,
    )
    program.save(path)
    folder = prepare(str(path), tmp_path / "out")
    assert folder.dynamic_batch
    assert measure(folder).worst_error <= RELATIVE_ERROR
