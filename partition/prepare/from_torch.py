"""Export of a PyTorch network to an ONNX graph, with one sample for it."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from partition.data.array_files import Sample
from partition.errors import ModelExportError

if TYPE_CHECKING:
    from torch import Tensor, nn

_INSTALL = "pip install --editable '.[prepare]'"


@dataclass(frozen=True, slots=True)
class TorchNetwork:
    """A network with one sample for it."""

    network: nn.Module
    arguments: tuple[Tensor, ...]
    keywords: dict[str, Tensor]

    def repeated(self, times: int) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Arguments with the sample several times over."""
        import torch

        one = tuple(tensor[:1] for tensor in self.arguments)
        keywords = {name: tensor[:1] for name, tensor in self.keywords.items()}
        return (
            tuple(torch.cat([tensor] * times) for tensor in one),
            {name: torch.cat([tensor] * times) for name, tensor in keywords.items()},
        )

    @property
    def has_batch(self) -> bool:
        """Whether the first dimension of all inputs is the same, hence the batch."""
        tensors = [*self.arguments, *self.keywords.values()]
        return len({tuple(tensor.shape[:1]) for tensor in tensors}) == 1 and tensors[0].ndim > 0

    @property
    def sample(self) -> Sample:
        """Its inputs for one sample."""
        arguments, keywords = self.arguments, self.keywords
        if self.has_batch:
            arguments, keywords = self.repeated(1)
        return tuple(tensor.detach().numpy() for tensor in (*arguments, *keywords.values()))


def load(name: str, build: Callable[[], object]) -> TorchNetwork:
    """The network that a callable makes.

    Raises:
        ModelExportError: it makes something else, or torch is not installed.
    """
    made = build()
    try:
        from torch import Tensor, nn
    except ModuleNotFoundError as error:
        raise ModelExportError(f"exporting {name!r} needs torch: {_INSTALL}") from error

    def are_tensors(values: Iterable[object]) -> bool:
        return all(isinstance(value, Tensor) for value in values)

    match made:
        case (nn.Module() as network, Tensor() as example):
            return TorchNetwork(network.eval(), (example,), {})
        case (nn.Module() as network, tuple(arguments)) if arguments and are_tensors(arguments):
            return TorchNetwork(network.eval(), arguments, {})
        case (nn.Module() as network, dict(keywords)) if keywords and are_tensors(
            keywords.values()
        ):
            return TorchNetwork(network.eval(), (), keywords)
    raise ModelExportError(
        f"model {name!r} gave {type(made).__name__}: return (nn.Module, example_input), the "
        "input a tensor, a tuple of tensors, or a dict of them by argument name"
    )


def to_graph(name: str, example: TorchNetwork, *, dynamic_batch: bool) -> onnx.ModelProto:
    """The network as torch's exporter sees it, for any batch or for one sample.

    Raises:
        ModelExportError: the exporter cannot follow the network.
    """
    import torch

    for chatty in ("torch.onnx", "torch.fx.experimental.symbolic_shapes"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    # A batch of 1 would be taken for a constant.
    if dynamic_batch:
        arguments, keywords = example.repeated(2)
        free = {0: torch.export.Dim.DYNAMIC}
        names = dict.fromkeys(keywords, free)
        dynamic: Any = names or tuple(free for _ in arguments)
    elif example.has_batch:
        arguments, keywords = example.repeated(1)
        dynamic = None
    else:
        arguments, keywords, dynamic = example.arguments, example.keywords, None
    try:
        # The exporter folds BatchNorm into convolutions; it also prints and warns a lot.
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            exported = torch.export.export(
                example.network, arguments, keywords, dynamic_shapes=dynamic, strict=False
            )
            program = torch.onnx.export(exported, dynamo=True, verbose=False)
    except ModuleNotFoundError as error:
        raise ModelExportError(f"exporting {name!r} needs {error.name}: {_INSTALL}") from error
    except Exception as error:  # torch.export documents no exception types
        raise ModelExportError(_reason(name, error)) from error
    if program is None:
        raise ModelExportError(f"model {name!r} gave no graph: give an .onnx file instead")
    return program.model_proto


def _reason(name: str, error: Exception) -> str:
    """Why the exporter gave up, and where: in the user's code, or in a library's, but torch's."""
    places: dict[bool, str] = {}
    cause: BaseException | None = error
    root: BaseException = error
    while cause is not None:
        root = cause if cause is error or cause is root.__cause__ else root
        for frame in traceback.extract_tb(cause.__traceback__):
            path = Path(frame.filename)
            inner = {"torch", f"python{sys.version_info.major}.{sys.version_info.minor}"}
            installed = "site-packages" in path.parts
            within = path.parts[path.parts.index("site-packages") :] if installed else path.parts
            own = inner.isdisjoint(within) and not frame.filename.startswith("<")
            if own and path != Path(__file__):
                places[installed] = f" at {frame.filename}:{frame.lineno} ({frame.line})"
        cause = cause.__cause__ or cause.__context__
    where = places.get(False, places.get(True, ""))
    lines = [line.strip() for line in str(root).splitlines() if line.strip()]
    reason = lines[0] if lines else type(root).__name__
    return (
        f"model {name!r} cannot be exported{where}: {reason}; change that line or give an .onnx "
        "file instead"
    )
