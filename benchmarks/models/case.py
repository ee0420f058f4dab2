"""A network file, what prepare is told about it, and inputs for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from benchmarks.models.catalog import Network
from partition.model.folder import ModelFolder
from partition.model.runtime import Array, random_inputs


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the page."""

    path: Path
    network: Network
    """What the list says; of a derived file, what was left of it."""
    beside: list[Path] = field(default_factory=list)

    def options(self, scratch: Path) -> list[str]:
        """Of `python -m partition.prepare`, besides the file and the folder.

        Args:
            scratch: where a file of example inputs may be written.
        """
        network = self.network
        options = [f"--shape={name}={shape}" for name, shape in network.shapes.items()]
        options += [f"--value={name}={value:g}" for name, value in network.values.items()]
        if network.outputs:
            options.append(f"--outputs={','.join(network.outputs)}")
        if network.sample:
            np.savez(scratch / "example.npz", **self.example())
            options.append(f"--example={scratch / 'example.npz'}")
        return options

    def inputs(self, folder: ModelFolder, batch: int = 1, seed: int = 0) -> tuple[Array, ...]:
        """Inputs for some samples: normal numbers, and whole numbers out of the list's ranges."""
        made = random_inputs(folder, batch, seed)
        rng = np.random.default_rng(seed)
        ranges = [self.network.sample.get(spec.name) for spec in folder.inputs]
        return tuple(
            array if ends is None else rng.integers(*ends, array.shape).astype(array.dtype)
            for array, ends in zip(made, ranges, strict=True)
        )

    def opset(self) -> int:
        """Of the standard operators, or of scikit-learn's where there are no others."""
        imports = onnx.load(self.path, load_external_data=False).opset_import
        versions = {entry.domain: entry.version for entry in imports}
        return versions.get("", max(versions.values()))

    def example(self, seed: int = 0) -> dict[str, np.ndarray]:
        """One sample for every input of the file."""
        graph = onnx.load(self.path, load_external_data=False).graph
        weights = {tensor.name for tensor in graph.initializer}
        rng = np.random.default_rng(seed)
        example = {}
        for value in graph.input:
            if value.name in weights or value.name in self.network.values:
                continue
            dims = value.type.tensor_type.shape.dim
            given = self.network.shapes.get(value.name)
            shape = [1 if n == "N" else int(n) for n in given.split("x")] if given else None
            shape = shape or [max(dim.dim_value, 1) for dim in dims]
            ends = self.network.sample.get(value.name)
            array = rng.normal(size=shape) if ends is None else rng.integers(*ends, shape)
            kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            example[value.name] = np.asarray(array).astype(kind)
        return example


def readable(options: list[str]) -> str:
    """Options as somebody would type them, without the file that they come with."""
    return " ".join(o.split(".npz")[0].split("=")[0] if ".npz" in o else o for o in options)
