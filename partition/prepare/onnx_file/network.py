"""A user's network out of its ONNX file, with inputs to run it with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from partition.data.array_files import Sample
from partition.errors import ModelExportError
from partition.prepare.onnx_file import inputs, outputs
from partition.prepare.onnx_file.choices import Choices
from partition.prepare.onnx_file.read import read
from partition.prepare.onnx_file.suggestion import plausible_shapes
from partition.prepare.samples import kind_of, made_up_input


@dataclass(frozen=True, slots=True)
class Network:
    """A graph whose inputs have certain shapes, but for the batch."""

    model: onnx.ModelProto
    samples: list[Sample]
    """Real inputs for one sample each, or one that was made up."""
    is_made_up: bool
    has_free_batch: bool
    """Whether the first dimension of all inputs is open."""

    def describe_samples(self) -> str:
        """What it is run with, and how to give something else."""
        if not self.is_made_up:
            return "on the given example"
        made = (
            f"{value.name!r} {kind_of(array)} of shape {list(array.shape)}"
            for value, array in zip(self.model.graph.input, self.samples[0], strict=True)
        )
        return (
            f"on inputs made up for it ({', '.join(made)}): give real ones with --example FILE.npz"
            f"{inputs.freezing(self.model.graph, ', or freeze ')}"
        )


def load(name: str, path: Path, choices: Choices) -> Network:
    """Read a file and apply what was chosen.

    Args:
        name: of the model, for messages.
        path: the file.
        choices: shapes, values, examples and outputs.

    Raises:
        ModelExportError: the file cannot be read, takes or gives what no message carries, leaves
            shapes open, or a choice does not fit it.
        SampleError: the example cannot be read, or does not fit.
    """
    model = read(path)
    graph = model.graph
    outputs.choose(name, model, choices.outputs)
    outputs.check_types(
        name, model, lambda names: replace(choices, outputs=names).command(path, choices.shapes)
    )
    inputs.freeze(name, graph, choices.values)
    inputs.check_types(name, graph)
    inputs.set_shapes(name, graph, choices.shapes)
    samples = inputs.read_examples(name, graph, choices.example)
    if still_open := inputs.open_inputs(graph):
        texts = " and ".join(f"{v.name!r} of shape {inputs.shape_text(v)}" for v in still_open)
        shapes = dict(choices.shapes) | plausible_shapes(model)
        raise ModelExportError(
            f"model {name!r} leaves open how large its input {texts} is: fix all but the batch"
            f"{inputs.freezing(graph, ' and freeze ')}, for instance with "
            f"{choices.command(path, shapes)}"
        )
    made_up = tuple(made_up_input(value) for value in graph.input)
    return Network(model, samples or [made_up], not samples, inputs.has_free_batch(graph))
