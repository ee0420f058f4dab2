"""Execution providers by the names that people know; needs no ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass

from partition.errors import ProviderError


@dataclass(frozen=True, slots=True)
class Provider:
    """What computes a network: a kind of device and the library that drives it."""

    name: str
    """As `--providers` takes it."""
    ort_name: str
    """ONNX Runtime's name."""
    needs: str
    """What has to be installed."""
    is_automatic: bool = False
    """Whether it is taken without being asked for where it works."""
    compiles: bool = False
    """Whether it compiles a graph for the shapes it will see, which takes from seconds to
    minutes."""
    is_fp16: bool = False
    """Whether it may compute in float16."""

    @property
    def library(self) -> str:
        """File in ONNX Runtime's folder that holds it, where it is not built in."""
        kind = self.ort_name.removesuffix("ExecutionProvider").lower()
        return f"libonnxruntime_providers_{kind}.so"


_NVIDIA = "onnxruntime-gpu, or NVIDIA's build for the Jetson, with CUDA and cuDNN"
_TENSORRT = ("TensorrtExecutionProvider", f"{_NVIDIA}, and TensorRT's libraries")

CPU = Provider("cpu", "CPUExecutionProvider", "onnxruntime", is_automatic=True)
# In order of preference. Azure's is not among them: it would send the input to another party. Those
# below CUDA are taken by name only, as each computes some networks slower than the processor.
_ALL = (
    Provider("tensorrt", *_TENSORRT, is_automatic=True, compiles=True),
    Provider("tensorrt-fp16", *_TENSORRT, compiles=True, is_fp16=True),
    Provider("cuda", "CUDAExecutionProvider", _NVIDIA, is_automatic=True),
    Provider(
        "migraphx", "MIGraphXExecutionProvider", "onnxruntime-migraphx with ROCm", compiles=True
    ),
    Provider("rocm", "ROCMExecutionProvider", "onnxruntime-rocm with ROCm"),
    Provider("openvino", "OpenVINOExecutionProvider", "onnxruntime-openvino", compiles=True),
    Provider("qnn", "QNNExecutionProvider", "onnxruntime-qnn", compiles=True),
    Provider("coreml", "CoreMLExecutionProvider", "onnxruntime on macOS", compiles=True),
    Provider("acl", "ACLExecutionProvider", "an onnxruntime built with Arm's Compute Library"),
    Provider("xnnpack", "XnnpackExecutionProvider", "an onnxruntime built with XNNPACK"),
    CPU,
)
PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ALL}
"""By name, the one preferred first."""


def parse(text: str) -> tuple[Provider, ...]:
    """Providers from their names, separated by commas, in order of preference.

    Raises:
        ProviderError: one is unknown, or named twice.
    """
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in PROVIDERS:
            raise ProviderError(
                f"unknown provider {name!r}: name one or several of {', '.join(PROVIDERS)}"
            )
    chosen = tuple(PROVIDERS[name] for name in names)
    if len({provider.ort_name for provider in chosen}) < len(chosen):
        raise ProviderError(f"providers {text!r} name one twice: name each once")
    return chosen
