"""The exceptions of this package: each message names the thing, the value and the remedy."""

from __future__ import annotations


class PartitionError(Exception):
    """Base of every error that `partition` raises on purpose."""


class ModelNotFoundError(PartitionError):
    """No model folder, zoo entry, callable or ONNX file of that name."""


class ModelFolderError(PartitionError):
    """A model folder is half-written, corrupt or of another schema."""


class ModelRunError(PartitionError):
    """A network fails on an input, or for want of what it needs: memory, a device."""


class ProviderError(PartitionError):
    """An execution provider is unknown, or does not work on this machine."""


class ModelExportError(PartitionError):
    """A network cannot become one ONNX graph with one image in and one vector of logits out."""


class ImageError(PartitionError):
    """A photograph or a folder of photographs cannot be read."""


class SampleError(PartitionError):
    """Inputs in a file cannot be read, or do not fit the network."""


class WireError(PartitionError):
    """A message or a tensor does not fit the wire format."""


class CloudError(PartitionError):
    """The cloud server did not serve a request."""


class CloudUnavailableError(CloudError):
    """No server answers at the address, or it failed."""


class CloudAccessError(CloudError):
    """The server does not know this client, or grants it nothing."""


class ModelMismatchError(CloudError):
    """Edge and cloud hold different models."""


class DeadlineExceededError(CloudError):
    """The answer was not there in time."""


class HopelessError(DeadlineExceededError):
    """By the estimates of link and server the answer would be much too late: nothing was sent."""


class ServerBusyError(CloudError):
    """The server is there but has no room for another request."""
