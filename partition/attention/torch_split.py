"""Cutting of a torch network where a model folder's graph is cut; importing this needs torch.

The place is found by value: the tensor of the exported program that equals the cut tensor of the
ONNX graph on a probe. So cuts have one list and one set of names, whatever the network.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx, nn

from partition.codec.codec import Float32Array
from partition.errors import ModelExportError
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.model.split_point import SplitPoint

_RELATIVE_ERROR = 1e-3
_PLACEHOLDER = "cut_tensor"


@dataclass(frozen=True, slots=True)
class TorchSplit:
    """Both sides of a cut as torch modules, for any batch."""

    head: nn.Module
    tail: nn.Module
    """A copy: training it leaves the network as it is. BatchNorm keeps its statistics."""


class SplittableNetwork:
    """A network and its model folder, to be cut at the folder's split points.

    Args:
        network: as given to `partition.prepare`.
        folder: what became of it.

    Raises:
        ModelExportError: torch.export cannot follow the network with a batch of any size, or the
            folder is of other weights.
    """

    def __init__(self, network: nn.Module, folder: ModelFolder) -> None:
        self._runtime = SplitRuntime(folder)
        self._name = folder.name
        rng = np.random.default_rng(0)
        self._probe: Float32Array = rng.normal(size=folder.input_shape).astype(np.float32)
        example = torch.zeros(2, *folder.input_shape[1:])
        batch = torch.export.Dim("batch", min=1)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.export(
                    network.eval(), (example,), dynamic_shapes=({0: batch},), strict=False
                )
                module = program.module(check_guards=False)
        except Exception as error:  # torch.export documents no exception types
            reason = str(error).strip().partition("\n")[0]
            raise ModelExportError(
                f"model {folder.name!r} cannot be trained at a cut: {reason}"
            ) from error
        self._module = module
        recorder = _Recorder(module)
        with torch.inference_mode():
            recorder.run(torch.from_numpy(self._probe))
        self._values = recorder.values
        (whole,) = self._runtime.head(folder.split_points[-1], (self._probe,))
        if not any(_equal(value, whole) for value in self._values.values()):
            raise ModelExportError(
                f"model folder {folder.path} answers otherwise than the network that is to be "
                "trained, it is of other weights: run python -m partition.prepare again"
            )

    def split(self, point: SplitPoint) -> TorchSplit:
        """Head and tail at `point`.

        Raises:
            ModelExportError: no tensor of the torch program equals the cut tensor.
        """
        (expected,) = self._runtime.head(point, (self._probe,))
        node = next((n for n, v in self._values.items() if _equal(v, expected)), None)
        if node is None:
            raise ModelExportError(
                f"model {self._name!r} has no torch tensor equal to that of {point.name!r}: "
                "choose another split point"
            )
        graph = self._module.graph
        image = next(n for n in graph.nodes if n.op == "placeholder")
        output = next(n for n in graph.nodes if n.op == "output")
        logits = output.args[0][0] if isinstance(output.args[0], tuple | list) else output.args[0]
        return TorchSplit(
            _between(self._module, image, node).requires_grad_(requires_grad=False),
            _between(self._module, node, logits),
        )


class _Recorder(fx.Interpreter):
    """Runs a program and keeps what every node gives."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.values: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        result: object = super().run_node(n)
        if isinstance(result, Tensor) and n.op == "call_function":
            self.values[n] = result
        return result


def _equal(found: Tensor, expected: Float32Array) -> bool:
    if tuple(found.shape) != expected.shape:
        return False
    scale = float(np.abs(expected).max()) or 1.0
    return float(np.abs(found.numpy() - expected).max()) <= _RELATIVE_ERROR * scale


def _between(module: fx.GraphModule, start: fx.Node, end: fx.Node) -> fx.GraphModule:
    """The part of a program that computes `end` from `start`, with weights of its own."""
    needed: set[fx.Node] = set()
    pending = [end]
    while pending:
        node = pending.pop()
        if node not in needed and node is not start:
            needed.add(node)
            pending.extend(node.all_input_nodes)
    part = fx.Graph()
    made = {start: part.placeholder(_PLACEHOLDER)}
    for node in module.graph.nodes:
        if node in needed and node.op == "placeholder":
            raise ModelExportError("the tail reads the input too: choose another split point")
        if node in needed:
            made[node] = part.node_copy(node, lambda n: made[n])
    part.output(made[end])
    part.lint()
    alone = copy.deepcopy(fx.GraphModule(module, part))
    # channels last: half as fast again in training on a CPU
    return alone.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
