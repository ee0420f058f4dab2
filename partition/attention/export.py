"""Export of a trained cut to ONNX files that a board runs without torch; imports torch.

`attention/<split point>/` in the model folder: `scores.onnx` (cut tensor -> channel scores),
`branch.onnx` (cut tensor, scores, kept -> logits, appeal), `tail.onnx` (sent channels -> logits),
and what the first two cost.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from partition.attention.modules import AttentionSplit
from partition.model.attention_files import (
    BRANCH_FILE,
    SCORES_FILE,
    TAIL_FILE,
    TrainedCut,
    write_costs,
)
from partition.model.cost import Cost
from partition.prepare.graph import find_cuts
from partition.prepare.shapes import settle


class _Branch(nn.Module):
    def __init__(self, model: AttentionSplit) -> None:
        super().__init__()
        self.model = model

    def forward(self, cut_tensor: Tensor, scores: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.edge(cut_tensor, scores, kept)


def export(model: AttentionSplit, folder: Path) -> None:
    """Write the three graphs, for any batch, and count the work that the edge has with two."""
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    x = torch.zeros(2, *model.shape)
    # Two tensors, or the exporter takes both inputs for one.
    scores, kept = torch.zeros(2, model.shape[0]), torch.ones(2, model.shape[0])
    scoring = _write(model.attention, {"x": x}, ["scores"], folder / SCORES_FILE)
    branch_inputs = {"cut_tensor": x, "scores": scores, "kept": kept}
    branch = _write(_Branch(model), branch_inputs, ["logits", "appeal"], folder / BRANCH_FILE)
    _write(model.tail, {"cut_tensor": x}, ["logits"], folder / TAIL_FILE)
    write_costs(folder, TrainedCut(_count(scoring, {"x": x}), _count(branch, branch_inputs)))


def _count(graph: onnx.ModelProto, inputs: dict[str, Tensor]) -> Cost:
    """Work for one sample, as that of head and tail is counted."""
    two = {name: tensor.numpy() for name, tensor in inputs.items()}
    settle(graph, {name: array[:1] for name, array in two.items()}, two)
    return find_cuts(graph)[-1].head


def _write(
    module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], path: Path
) -> onnx.ModelProto:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    batch = torch.export.Dim("batch", min=1)
    # The exporter prints and warns a lot.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            dynamo=True,
            verbose=False,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=tuple({0: batch} for _ in inputs),
        )
    if program is None:
        raise AssertionError("torch.onnx.export with dynamo=True returns a program")
    graph = program.model_proto
    # Paths of this machine; the same network gives the same bytes.
    for part in [graph, graph.graph, *graph.graph.node, *graph.graph.initializer]:
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.save_model(graph, path)
    return graph
