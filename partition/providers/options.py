"""Options of execution providers, all in one place.

Names of options: ONNX Runtime's documentation of its CUDA, TensorRT and OpenVINO providers.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

import onnx
import onnxruntime as ort

from partition.errors import ProviderError
from partition.providers.execution import Execution
from partition.providers.registry import Provider

Options = dict[str, str]

_TENSORRT_MAJORS = range(7, 15)
_PLAIN: Options = {}


def provider_options(
    provider: Provider, execution: Execution, model: onnx.ModelProto, fingerprint: str, threads: int
) -> Options:
    """Options of one provider for one graph.

    Args:
        provider: which.
        execution: batch and memory that it is meant for.
        model: the graph; the batches of its inputs are told to what compiles for shapes.
        fingerprint: of the network: compiled graphs of others lie elsewhere.
        threads: on the processor.

    Raises:
        ProviderError: the folder for compiled graphs cannot be made.
    """
    match provider.ort_name:
        case "TensorrtExecutionProvider":
            return _tensorrt(provider, execution, model, fingerprint)
        case "CUDAExecutionProvider":
            return _cuda(execution)
        case "OpenVINOExecutionProvider":
            cache_dir = engine_folder(provider, fingerprint, execution.max_batch)
            return {"cache_dir": str(cache_dir), "num_of_threads": str(threads)}
    return _PLAIN


def _tensorrt(
    provider: Provider, execution: Execution, model: onnx.ModelProto, fingerprint: str
) -> Options:
    folder = str(engine_folder(provider, fingerprint, execution.max_batch))
    options = {
        # An engine takes minutes to build: it is kept, and so are the timings of its kernels.
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
        "trt_fp16_enable": str(int(provider.is_fp16)),
    }
    if execution.memory_bytes is not None:
        options["trt_max_workspace_size"] = str(execution.memory_bytes)
    # Without a range an engine is built anew for each batch outside those it has seen.
    shapes = _open_shapes(model)
    if shapes:
        for edge, batch in (("min", 1), ("opt", 1), ("max", execution.max_batch)):
            options[f"trt_profile_{edge}_shapes"] = ",".join(
                f"{name}:{'x'.join(str(n or batch) for n in shape)}"
                for name, shape in shapes.items()
            )
    return options


def _cuda(execution: Execution) -> Options:
    # The default doubles what a session holds each time it needs more, and there are many sessions.
    options = {"arena_extend_strategy": "kSameAsRequested"}
    if execution.memory_bytes is not None:
        options["gpu_mem_limit"] = str(execution.memory_bytes)
    if execution.max_batch > 1:
        # The exhaustive search is done again for every size of batch, while a request waits.
        options["cudnn_conv_algo_search"] = "HEURISTIC"
    return options


def _open_shapes(model: onnx.ModelProto) -> dict[str, tuple[int | None, ...]]:
    """Inputs with a dimension that is not fixed, which is None."""
    shapes = {}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
        if None in shape:
            shapes[value.name] = shape
    return shapes


def engine_folder(provider: Provider, fingerprint: str, max_batch: int) -> Path:
    """Folder for compiled graphs of one network, provider, version and size of batch; made.

    Raises:
        ProviderError: it cannot be.
    """
    cache_root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kind = f"{provider.name}-onnxruntime-{ort.__version__}{_tensorrt_version()}"
    folder = cache_root / "dvfo" / "engines" / fingerprint / kind / f"batch-{max_batch}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProviderError(
            f"the folder {folder} for compiled graphs cannot be made ({error.strerror}): set "
            "XDG_CACHE_HOME to one that can be written"
        ) from error
    return folder


@cache
def _tensorrt_version() -> str:
    """As `-tensorrt-100300`: an engine of another version does not load."""
    for major in _TENSORRT_MAJORS:
        with suppress(OSError, AttributeError):
            return f"-tensorrt-{ctypes.CDLL(f'libnvinfer.so.{major}').getInferLibVersion()}"
    return ""
