"""The live environment: a board, a link and a server, as they are."""

from __future__ import annotations

from common import extras

extras.require("a live board", "grpc", "onnx", "onnxruntime", "PIL")
