"""A prepared network on disk: graph, weights, legal cuts, fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from partition import json_file
from partition.errors import ModelFolderError, ModelNotFoundError
from partition.model import attention_files, description, network_files, profile_file, routes
from partition.model.accuracy_table import ACCURACY_FILE, AccuracyTableError
from partition.model.attention_files import Attention
from partition.model.description import SCHEMA_VERSION
from partition.model.network_files import GRAPH_FILE, WEIGHTS_FILE, Stamps
from partition.model.routes import RouteOption
from partition.model.split_point import Preprocess, SplitPoint, TensorSpec

CUTS_FILE = "cuts.json"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A prepared network; edge and cloud hold the same one and compare `fingerprint`."""

    path: Path
    name: str
    fingerprint: str
    """First 16 hex digits of the SHA-256 over graph, weights and cuts, and over attention's
    graphs."""
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
    stamps: Stamps = field(default=(), compare=False, repr=False)
    """Of graph and weights as they were when they were hashed."""

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
                raise _broken(path, f"is half-written, {name} is missing or no regular file")
        document = _read_json(path, CUTS_FILE)
        folder = _parse(path, document)
        try:
            found, stamps = network_files.fingerprint_of(path, document)
        except OSError as error:
            raise _broken(path, f"has an unreadable file ({error.strerror})") from error
        if found != folder.fingerprint:
            raise ModelFolderError(
                f"model folder {path} is corrupt, {CUTS_FILE}, {GRAPH_FILE} and {WEIGHTS_FILE} "
                f"hash to {found}, not {folder.fingerprint}: run python -m partition.prepare "
                f"again, or write {found} into {CUTS_FILE} if you changed that yourself"
            )
        return replace(folder, stamps=stamps)

    def check_unchanged(self) -> None:
        """Refuse to read on in a folder that was prepared anew, or touched, since it was opened.

        Raises:
            ModelFolderError: graph or weights are not the files that were hashed.
        """
        try:
            unchanged = network_files.stamps_of(self.path) == self.stamps
        except OSError as error:
            raise _broken(self.path, f"has an unreadable file ({error.strerror})") from error
        if not unchanged:
            raise ModelFolderError(
                f"model folder {self.path} has changed since it was opened as {self.fingerprint}: "
                "start this program again"
            )

    @classmethod
    def read_cuts(cls, path: Path) -> ModelFolder:
        """Read what `cuts.json` says of a network, without looking at graph and weights.

        Raises:
            ModelFolderError: it is corrupt or of another schema.
        """
        return _parse(path.parent, _read_json(path.parent, path.name))

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


def _parse(path: Path, document: dict[str, Any]) -> ModelFolder:
    try:
        described = description.parse(document)
        preprocess = described.preprocessing()
    except ValueError as error:
        raise _broken(path, f"is corrupt, {CUTS_FILE}: {error}") from error
    cuts = described.split_points()
    return ModelFolder(
        path=path,
        name=described.name,
        fingerprint=described.fingerprint,
        inputs=described.cuts[0].specs,
        outputs=described.cuts[-1].specs,
        dynamic_batch=described.dynamic_batch,
        preprocess=preprocess,
        cuts=cuts,
        split_points=choose_split_points(cuts),
        fidelity=None,
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
