"""ONNX Runtime for GPUs on a machine without their libraries, as version 1.31.1 behaves there.

Seen on the real package: CUDA and TensorRT are listed as available; a session asked of CUDA is
made on the processor without an error; one asked of TensorRT raises, and ONNX Runtime's own
fallback prints about it on the standard output. Libraries of GPUs print from C, too.
"""

from __future__ import annotations

import ctypes
import threading

import onnxruntime as ort

from partition.providers import check, execution, session

TENSORRT, CUDA, CPU = (f"{kind}ExecutionProvider" for kind in ("Tensorrt", "CUDA", "CPU"))
NO_TENSORRT = (
    "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:729 Please install TensorRT "
    "libraries as mentioned in the GPU requirements page"
)
RealSession = ort.InferenceSession


class Piece:
    """Operators that one provider computes."""

    def __init__(self, ep_name, n):
        self.ep_name, self.n = ep_name, n

    def get_nodes(self):
        return [None] * self.n


class FakeRuntime:
    """Stands in for `onnxruntime`'s sessions.

    Args:
        works: ONNX Runtime's names of the providers whose libraries are there.
        builds: called with the providers and their options before a session is made; may wait or
            raise.
        n_elsewhere: operators of each session that fall to the processor, of 12.
    """

    def __init__(self, monkeypatch, works=(), builds=lambda given: None, n_elsewhere=0):
        self.works, self.builds, self.n_elsewhere = {*works, CPU}, builds, n_elsewhere
        self.options = []
        """Of the providers of each session that was made, by name."""
        self.lock = threading.Lock()
        monkeypatch.setattr(ort, "InferenceSession", self.make)
        monkeypatch.setattr(ort, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
        monkeypatch.setattr(session, "_told", set())
        monkeypatch.setattr(execution, "_told", set())
        check._tried.cache_clear()

    def make(self, source, options=None, providers=None, enable_fallback=1):
        given = dict(p if isinstance(p, tuple) else (p, {}) for p in providers)
        if given.keys() - {CPU}:
            ctypes.CDLL(None).printf(b"EP says hello\n")
        if TENSORRT in given and TENSORRT not in self.works:
            if not enable_fallback:
                raise RuntimeError(NO_TENSORRT)
            print(f"*************** EP Error ***************\nEP Error {NO_TENSORRT}")
            del given[TENSORRT]
        self.builds(given)
        with self.lock:
            self.options.append(given)
        made = RealSession(source, options, providers=[CPU])
        names = [name for name in given if name in self.works]
        pieces = [Piece(next(iter(given)), 12 - self.n_elsewhere), Piece(CPU, self.n_elsewhere)]
        made.get_provider_graph_assignment_info = lambda: pieces
        made.get_providers = lambda: names if CPU in names else [*names, CPU]
        return made
