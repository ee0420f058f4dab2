"""Sessions of ONNX Runtime: made where they were asked for, or with an error, never in silence."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from partition.providers.execution import Execution, does_not_run
from partition.providers.options import provider_options
from partition.providers.quiet import stdout_to_stderr
from partition.providers.registry import CPU, Provider

logger = logging.getLogger(__name__)

RUNTIME_ERRORS: tuple[type[Exception], ...] = tuple(
    kind
    for kind in vars(ort_errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)
"""What ONNX Runtime raises over a network that it cannot load or run: all that it defines, as each
of its providers and versions has kinds of its own."""
_CANNOT_MAKE: tuple[type[Exception], ...] = (RuntimeError, ValueError, *RUNTIME_ERRORS)
_CANNOT_TELL: tuple[type[Exception], ...] = (AttributeError, *RUNTIME_ERRORS)
"""ONNX Runtime before 1.24, which has no such question."""
_SILENT = 4
_told: set[tuple[str, str]] = set()
# What goes wrong is raised; the logger behind all sessions would print it, too.
ort.set_default_logger_severity(_SILENT)


@dataclass(frozen=True, slots=True)
class Placed:
    """A session, and where it runs."""

    session: ort.InferenceSession
    provider: Provider
    """The first that it runs on."""
    n_elsewhere: int = 0
    """Operators that this one does not compute and the processor does, where that is known."""
    n_operators: int = 0


def make_session(
    model: onnx.ModelProto | Path,
    weights: Path | None = None,
    threads: int = 1,
) -> ort.InferenceSession:
    """Load a graph on the processor.

    Args:
        model: the graph, or the file that holds it with its weights.
        weights: the folder of its weight file; None if the graph holds them itself.
        threads: threads per inference.

    Raises:
        what `RUNTIME_ERRORS` lists: it cannot be loaded.
    """
    return _make(model, _options(weights, threads), [CPU.ort_name])


def place_session(
    model: onnx.ModelProto | Path,
    weights: Path | None,
    threads: int,
    execution: Execution,
    fingerprint: str,
) -> Placed:
    """Load a graph where it is to run.

    Nothing that a library prints meanwhile reaches the standard output.

    Args:
        model: as `make_session` takes it.
        weights: as `make_session` takes it.
        threads: threads per inference on the processor.
        execution: where.
        fingerprint: of the network, under which compiled graphs are kept.

    Raises:
        ProviderError: a provider that was asked for does not take it.
        what `RUNTIME_ERRORS` lists: it cannot be loaded.
    """
    if execution.providers == (CPU,):
        return Placed(make_session(model, weights, threads), CPU)
    graph = onnx.load(model) if isinstance(model, Path) else model
    providers = [
        (p.ort_name, provider_options(p, execution, graph, fingerprint, threads))
        for p in execution.providers
    ]
    options = _options(weights, threads)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    missing = execution.providers[0]
    try:
        with stdout_to_stderr():
            session = _make_compiled(model, options, providers)
        running = session.get_providers()
        left_out = [p for p in execution.providers if p.ort_name not in running]
        if not left_out:
            return _placed(session, execution.providers[0])
        missing = left_out[0]
        reason = f"ONNX Runtime left it out and made a session of {', '.join(running)}"
    except _CANNOT_MAKE as error:
        reason = " ".join(str(error).split())
    if execution.is_chosen:
        raise does_not_run(missing, reason)
    rest = replace(execution, providers=tuple(p for p in execution.providers if p is not missing))
    _tell_once(missing, reason, rest)
    return place_session(model, weights, threads, rest, fingerprint)


def _make_compiled(
    model: onnx.ModelProto | Path, options: ort.SessionOptions, providers: list[Any]
) -> ort.InferenceSession:
    """With the range of batches, or without where a compiler cannot take it.

    TensorRT refuses a range that leaves out a tensor at which the graph is handed to another
    provider and back; it then learns the range from the batches that a server warms up with.
    """
    try:
        return _make(model, options, providers)
    except _CANNOT_MAKE:
        bare = [
            (name, {k: v for k, v in given.items() if not k.startswith("trt_profile_")})
            for name, given in providers
        ]
        if bare == providers:
            raise
        return _make(model, options, bare)


def _make(
    model: onnx.ModelProto | Path, options: ort.SessionOptions, providers: list[Any]
) -> ort.InferenceSession:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    # Its own fallback prints on the standard output and hides what failed.
    return ort.InferenceSession(source, options, providers=providers, enable_fallback=0)


def _options(weights: Path | None, threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT  # errors are raised, no need to print them too
    # An arena per session never gives back what its largest batch took: with 113 tails of 24
    # networks 270 MB of 880. malloc costs the same time (results/runtime.md).
    options.enable_cpu_mem_arena = False
    # Threads that look for work between two inferences take a core each: at ten requests a second
    # more than four times the processor time of the network itself (results/waiting.md).
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if weights is not None:
        # The graph is in memory; its weights stay in the one file on disk.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(weights)
        )
    return options


def _placed(session: ort.InferenceSession, provider: Provider) -> Placed:
    try:
        pieces = session.get_provider_graph_assignment_info()
    except _CANNOT_TELL:
        return Placed(session, provider)
    counts: Counter[str] = Counter()
    for piece in pieces:
        counts[piece.ep_name] += len(piece.get_nodes())
    return Placed(session, provider, counts[CPU.ort_name], counts.total())


def _tell_once(provider: Provider, reason: str, rest: Execution) -> None:
    if (provider.name, reason) not in _told:
        _told.add((provider.name, reason))
        logger.warning(
            "provider %s does not take a part of the network, which then runs on %s: %s",
            provider.name,
            rest.providers[0].name,
            reason,
        )
