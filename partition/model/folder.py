"""A prepared network on disk: graph, weights, legal cuts, fingerprint."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.schema import convert
from partition import json_file
from partition.errors import ModelFolderError, ModelNotFoundError
from partition.model import attention_files, profile_file, routes
from partition.model.accuracy_table import ACCURACY_FILE, AccuracyTableError
from partition.model.attention_files import Attention
from partition.model.cost import Cost
from partition.model.routes import RouteOption
from partition.model.split_point import Preprocess, SplitPoint, TensorSpec

SCHEMA_VERSION = 2
GRAPH_FILE = "model.onnx"
WEIGHTS_FILE = "weights.bin"
CUTS_FILE = "cuts.json"
_GARBLED = (LookupError, TypeError, ValueError, OverflowError, AttributeError)
"""What reading a document of another shape raises."""
_MAX_ELEMENTS = 2**40
"""Of a tensor; no memory holds more."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A prepared network; edge and cloud hold the same one and compare `fingerprint`."""

    path: Path
    name: str
    fingerprint: str
    """First 16 hex digits of the SHA-256 over graph and weights, and over attention's graphs."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    dynamic_batch: bool
    """Whether any number of samples can go in at once; otherwise one."""
    preprocess: Preprocess | None
    """For a classifier of photographs; None for other networks."""
    cuts: tuple[SplitPoint, ...]
    """Every legal cut by depth: the input first, the output last."""
    split_points: tuple[SplitPoint, ...]
    """Where a route may cut: the input (cloud-only), the compressive natural bottlenecks
    by bytes on the wire (Bakhtiarnia et al., arXiv 2205.11269), the output (edge-only)."""
    fidelity: tuple[float, ...] | None
    """What is left of the unsplit network's answer per split point, 0..1 by `measure`; None where
    it is unknown: not profiled, or without real inputs."""
    measure: str | None = None
    """Name of the measure of `fidelity`, see `partition.profile.measures`."""
    threads: int | None = None
    """Fastest number of threads per inference, when it was profiled on this machine."""
    attention: Attention | None = None
    """What `partition.train_attention` left here."""

    @classmethod
    def open(cls, path_or_name: str | Path, root: Path = Path("models")) -> ModelFolder:
        """Open and check a model folder.

        Args:
            path_or_name: a folder, or the name of one under `root`.
            root: where named models live.

        Raises:
            ModelNotFoundError: no such folder.
            ModelFolderError: the folder is half-written, corrupt or of another schema.
            AccuracyTableError: its accuracy table is corrupt or of another network.
        """
        return _with_attention(_with_profile(cls.open_network(path_or_name, root)))

    @classmethod
    def open_network(cls, path_or_name: str | Path, root: Path = Path("models")) -> ModelFolder:
        """Open graph, weights and cuts alone, whatever profile and attention lie next to them.

        Args:
            path_or_name: as in `open`.
            root: as in `open`.

        Raises:
            ModelNotFoundError: no such folder.
            ModelFolderError: the folder is half-written, corrupt or of another schema.
        """
        path = Path(path_or_name)
        if not path.is_dir():
            path = root / path_or_name
        if not path.is_dir():
            prepared = sorted(cuts.parent.name for cuts in root.glob(f"*/{CUTS_FILE}"))
            raise ModelNotFoundError(
                f"no model folder {path}: run python -m partition.prepare --model {path.name}, "
                f"or use one of those prepared ({', '.join(prepared) or 'none yet'})"
            )
        for name in (GRAPH_FILE, WEIGHTS_FILE, CUTS_FILE):
            if not (path / name).is_file():
                raise _broken(path, f"is half-written, {name} is missing")
        folder = _parse(path, _read_json(path, CUTS_FILE))
        found = fingerprint_of(path)
        if found != folder.fingerprint:
            reason = f"is corrupt, {GRAPH_FILE} and {WEIGHTS_FILE} hash to {found}"
            raise _broken(path, f"{reason}, not {folder.fingerprint}")
        return folder

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the first input, for one sample."""
        return self.inputs[0].shape

    @property
    def n_classes(self) -> int:
        """Last dimension of the first output."""
        return self.outputs[0].shape[-1]

    @property
    def plain(self) -> ModelFolder:
        """The network without attention."""
        if self.attention is None:
            return self
        return replace(self, attention=None, fingerprint=self.attention.table.fingerprint)

    @property
    def is_classifier(self) -> bool:
        """Whether the largest of the first output is the answer: as profiled, or by its shape."""
        if self.measure is not None:
            return self.measure == profile_file.TOP1
        return self.preprocess is not None and self.n_classes > 1

    @property
    def routes(self) -> tuple[RouteOption, ...]:
        """What a policy chooses from, by depth; made again on each call."""
        # Only first choices that stay can be multiplied with an accuracy.
        weighs = self.attention is None or self.measure == profile_file.TOP1
        return routes.options(self.split_points, self.fidelity if weighs else None, self.attention)

    @property
    def accuracy_is_known(self) -> bool:
        """Whether it is known what each route costs in accuracy."""
        return self.routes[-1].accuracy is not None

    @property
    def cut_list_fingerprint(self) -> str:
        """Hash over names and wire bytes of the routes: what an action index means."""
        text = json.dumps([(option.name, option.wire_bytes) for option in self.routes])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint_of(path: Path) -> str:
    """First 16 hex digits of the SHA-256 over the graph and weight files in `path`."""
    digest = hashlib.sha256()
    for name in (GRAPH_FILE, WEIGHTS_FILE):
        try:
            digest.update((path / name).read_bytes())
        except OSError as error:
            raise _broken(path, f"has an unreadable {name} ({error.strerror})") from error
    return digest.hexdigest()[:16]


def choose_split_points(cuts: tuple[SplitPoint, ...]) -> tuple[SplitPoint, ...]:
    """Input, every cut whose message is smaller than all before it, output."""
    chosen = [cuts[0]]
    for cut in cuts[1:-1]:
        if cut.wire_bytes < chosen[-1].wire_bytes:
            chosen.append(cut)
    chosen.append(cuts[-1])
    return tuple(replace(point, index=i) for i, point in enumerate(chosen))


def _broken(path: Path, reason: str) -> ModelFolderError:
    return ModelFolderError(f"model folder {path} {reason}: run python -m partition.prepare again")


def _read_json(path: Path, name: str) -> dict[str, Any]:
    try:
        data = json_file.read(path / name)
    except (ValueError, OSError) as error:
        raise _broken(path, f"is corrupt, {name} cannot be read ({error})") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        reason = f"holds {name} of schema {version!r}, this version reads {SCHEMA_VERSION}"
        raise _broken(path, reason)
    return dict(data)


def _parse(path: Path, data: dict[str, Any]) -> ModelFolder:
    try:
        inputs = tuple(_parse_spec(spec) for spec in data["inputs"])
        total = convert(data["cuts"][-1]["head"], Cost, "head")
        cuts = tuple(_parse_cut(i, cut, total) for i, cut in enumerate(data["cuts"]))
        cuts = (replace(cuts[0], is_input=True), *cuts[1:-1], replace(cuts[-1], is_output=True))
        return ModelFolder(
            path=path,
            name=str(data["name"]),
            fingerprint=str(data["fingerprint"]),
            inputs=inputs,
            outputs=tuple(_parse_spec(spec) for spec in data["outputs"]),
            dynamic_batch=bool(data["dynamic_batch"]),
            preprocess=_parse_preprocess(data["preprocess"], inputs[0].shape),
            cuts=cuts,
            split_points=choose_split_points(cuts),
            fidelity=None,
        )
    except _GARBLED as error:
        raise _broken(path, f"is corrupt, {CUTS_FILE} lacks or garbles {error}") from error


def _parse_spec(data: dict[str, Any]) -> TensorSpec:
    shape = tuple(int(n) for n in data["shape"])
    return TensorSpec(str(data["name"]), str(np.dtype(data["dtype"])), shape)


def _parse_preprocess(data: dict[str, Any] | None, shape: tuple[int, ...]) -> Preprocess | None:
    if data is None:
        return None
    mean = tuple(float(v) for v in data["mean"])
    std = tuple(float(v) for v in data["std"])
    return Preprocess(
        shape[-1],
        float(data["crop_fraction"]),
        (mean[0], mean[1], mean[2]),
        (std[0], std[1], std[2]),
    )


def _parse_cut(index: int, data: dict[str, Any], total: Cost) -> SplitPoint:
    head = convert(data["head"], Cost, "head")
    tail = total - head
    tensors = tuple(str(name) for name in data["tensors"])
    shapes = tuple(tuple(int(n) for n in shape) for shape in data["shapes"])
    dtypes = tuple(str(np.dtype(name)) for name in data["dtypes"])
    if not len(tensors) == len(shapes) == len(dtypes):
        raise ValueError(f"{len(tensors)} tensors, {len(shapes)} shapes, {len(dtypes)} dtypes")
    if any(not 0 <= math.prod(shape) < _MAX_ELEMENTS for shape in shapes):
        raise ValueError("a shape")
    return SplitPoint(
        index=index,
        name=str(data["name"]),
        tensors=tensors,
        shapes=shapes,
        dtypes=dtypes,
        head=head,
        tail=tail,
        peak_bytes=int(data["peak_bytes"]),
        is_input=False,
        is_output=False,
    )


def _with_profile(folder: ModelFolder) -> ModelFolder:
    """Fidelity and threads from the profile, unless it is of another network."""
    found = profile_file.read(
        folder.path, folder.fingerprint, folder.cut_list_fingerprint, len(folder.split_points)
    )
    if found is None:
        return folder
    return replace(
        folder, fidelity=found.fidelity, measure=found.measure, threads=found.threads_here
    )


def _with_attention(folder: ModelFolder) -> ModelFolder:
    attention = attention_files.load(folder.path, folder.fingerprint)
    if attention is None:
        return folder
    unknown = attention.cuts.keys() - {point.name for point in folder.split_points}
    if unknown:
        raise AccuracyTableError(
            f"{folder.path / ACCURACY_FILE} names split point {min(unknown)!r}, which is none: run "
            "python -m partition.train_attention again"
        )
    fingerprint = attention_files.fingerprint(folder.path, folder.fingerprint, attention.cuts)
    return replace(folder, attention=attention, fingerprint=fingerprint)
