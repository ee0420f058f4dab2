"""A fake kernel that other processes reach in real time, by any number of threads."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hw.fake.access import _KernelSysfs

MESSAGE_BYTES = 1 << 17

SHARED = "shared"
"""Folder under the root of what all processes share with a kernel: what its lock is taken on."""

Access = Callable[[str, str, str], Any]
"""Operation, path, value; raises OSError."""


class SocketSysfs(_KernelSysfs):
    """Access to a `KernelServer`.

    Each access under way has a connection of its own, so that a read that blocks holds up only the
    thread that reads, as in a kernel.

    Args:
        address: path of the server's socket.
        root: folder on the real disk for what is no kernel file (the journal).
    """

    def __init__(self, address: str, root: Path) -> None:
        super().__init__(root)
        self.shared = str(root / SHARED)
        self._address = address
        self._idle: list[socket.socket] = []

    def _access(self, operation: str, path: str, value: str = "") -> Any:
        connection = self._idle.pop() if self._idle else self._connect()
        try:
            connection.send(json.dumps((operation, path, value)).encode())
            answer = connection.recv(MESSAGE_BYTES)
        except OSError:
            answer = b""
        except BaseException:  # a signal's handler: what was asked has happened all the same
            connection.close()
            raise
        if not answer:
            os._exit(1)  # the process that plays the kernel is gone
        self._idle.append(connection)
        code, result = json.loads(answer)
        if code:
            raise OSError(code, os.strerror(code), path)
        return result

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps messages apart
        connection.connect(self._address)
        return connection


class KernelServer:
    """Answers `SocketSysfs` of any number of processes; a context manager.

    Args:
        address: path of the socket, not there yet.
        access: what is served; called by several threads at once.
    """

    def __init__(self, address: Path, access: Access) -> None:
        self.address = str(address)
        self._access = access
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def __enter__(self) -> KernelServer:
        self._listener.bind(self.address)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while True:
                try:
                    request = connection.recv(MESSAGE_BYTES)
                    if not request:
                        return
                    connection.send(json.dumps(self._do(*json.loads(request))).encode())
                except OSError:  # killed in the middle
                    return

    def _do(self, operation: str, path: str, value: str) -> tuple[int, Any]:
        try:
            return 0, self._access(operation, path, value)
        except OSError as error:
            return error.errno or errno.EIO, None
