"""Which execution providers work on this machine, and why the others do not."""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from pathlib import Path

import onnxruntime as ort
from onnx import TensorProto, helper

from common.extras import clash
from partition.providers.quiet import stdout_to_stderr
from partition.providers.registry import CPU, PROVIDERS, Provider

_SILENT = 4
_FOLDER = Path(ort.__file__).parent / "capi"
_trial_lock = threading.Lock()


def automatic() -> tuple[Provider, ...]:
    """Those taken without being asked for that work here, the preferred one first."""
    return tuple(p for p in PROVIDERS.values() if p.is_automatic and why_not(p) is None)


def working() -> tuple[Provider, ...]:
    """All that work here."""
    return tuple(p for p in PROVIDERS.values() if why_not(p) is None)


def why_not(provider: Provider) -> str | None:
    """Why a provider does not work here; None if it does.

    ONNX Runtime lists what it was built with. Whether the libraries are there shows when a session
    is made: it is then made on the processor instead, without an error.
    """
    if provider is CPU:
        return None
    if not is_built_in(provider):
        return clash("onnxruntime") or (
            f"onnxruntime {ort.__version__} is built without it; it needs {provider.needs}"
        )
    return _tried(provider.ort_name, provider.needs, provider.library)


def is_built_in(provider: Provider) -> bool:
    """Whether this ONNX Runtime was built with a provider; its libraries may be missing."""
    return provider.ort_name in ort.get_available_providers()


@cache
def _tried(ort_name: str, needs: str, library: str) -> str | None:
    """Make a session of a network that needs no compiling."""
    ort.set_default_logger_severity(_SILENT)  # or it prints each missing library, in colours
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    try:
        with _trial_lock, stdout_to_stderr():
            session = ort.InferenceSession(
                _passes_text(), options, providers=[ort_name], enable_fallback=0
            )
        if session.get_providers()[0] == ort_name:
            return None
        reason = f"it needs {needs}"
    except Exception as error:
        reason = f"{_first_line(error)}; it needs {needs}"
    missing = _missing_library(library)
    return f"{missing}; it needs {needs}" if missing else reason


def _passes_text() -> bytes:
    """A network of one operator on text, which no accelerator takes or compiles."""
    values = [helper.make_tensor_value_info(name, TensorProto.STRING, [1]) for name in "xy"]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "trial", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _missing_library(library: str) -> str | None:
    """What the loader says of a provider's file.

    Only once ONNX Runtime has tried: a provider that is loaded before it has been told where its
    host is crashes later.
    """
    path = _FOLDER / library
    if not path.is_file():
        return None
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        return f"{_first_line(error)}"
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
