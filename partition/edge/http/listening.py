"""Addresses for HTTP on this machine, and the sockets that listen there."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from partition.errors import CloudError
from partition.listener.listener import check_free
from partition.security.tls import is_loopback
from partition.transport import rpc

UNIX = "unix:"
_BACKLOG = 512
"""More wait than are served: on a Unix socket who finds no place is refused at once."""
_SOCKET_MODE = 0o660
_LONGEST_PATH_BYTES = 107
"""`sun_path` of unix(7), its end not counted."""
_PROBE_S = 1.0
_LOCK_S, _LOCK_PERIOD_S = 2.0, 0.02


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where HTTP is listened on: a port of this machine, or a Unix socket."""

    host: str
    port: int
    path: Path | None = None
    """Of the Unix socket; host and port mean nothing then."""


class HttpListener:
    """A listening socket.

    Args:
        address: to listen on.

    Attributes:
        socket: that listens.
        address: that is listened on, for people and their commands.

    Raises:
        CloudError: it is in use, or not permitted.
    """

    def __init__(self, address: HttpAddress) -> None:
        self._path = address.path
        self._inode: tuple[int, int] | None = None
        if address.path is not None:
            self.socket = _listen_on_path(address.path)
            self._inode = _inode(address.path)
            self.address = f"{UNIX}{address.path}"
            return
        self.socket = _listen_on_port(address)
        host = f"[{address.host}]" if ":" in address.host else address.host
        self.address = f"http://{host}:{self.socket.getsockname()[1]}"

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket, which no browser reaches."""
        return self._path is not None

    def close(self) -> None:
        """Stop listening; who waits in `accept` is woken. The file of a Unix socket goes."""
        # While this socket is open, no other file gets its inode.
        if self._path is not None and self._inode and _inode(self._path) == self._inode:
            with suppress(OSError):
                self._path.unlink()
        self._inode = None
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def parse_http_address(text: str) -> HttpAddress:
    """HOST:PORT of this machine or unix:PATH.

    Raises:
        CloudError: the text has another form, or the address is reachable from other machines, in
            use or not permitted.
    """
    if text.startswith(UNIX):
        path = Path(text.removeprefix(UNIX))
        _check_path(path, text)
        return HttpAddress("", 0, path)
    host, port = rpc.parse_address(text)
    if not is_loopback(host):
        raise CloudError(
            f"{host} is reachable from other machines, but only applications on this one "
            f"are served: answer HTTP on 127.0.0.1:{port} or on unix:PATH"
        )
    check_free(text)
    return HttpAddress(host, port)


def _check_path(path: Path, text: str) -> None:
    if path == Path() or "\0" in str(path):
        raise CloudError(f"{text!r} names no file: give unix:PATH, unix:/run/dvfo/http.sock say")
    n_bytes = len(os.fsencode(path))
    if n_bytes > _LONGEST_PATH_BYTES:
        raise CloudError(
            f"the path of Unix socket {path} has {n_bytes} bytes, the system takes "
            f"{_LONGEST_PATH_BYTES}: give a shorter one"
        )
    with _alone_in(path.parent):
        _check_replaceable(path)
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        raise _unusable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _check_replaceable(path: Path) -> bool:
    """Whether the socket of a program that has ended lies at a path; False: nothing does.

    Raises:
        CloudError: something else does.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unusable(path, error) from error
    if not stat.S_ISSOCK(status.st_mode):
        raise CloudError(
            f"{path} is there and is no socket: move it away or give another path for HTTP"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except (FileNotFoundError, PermissionError) as error:
            raise _unusable(path, error) from error
        except OSError:  # its queue is full, or it is no stream: somebody has it open
            pass
    raise CloudError(
        f"cannot answer HTTP on {UNIX}{path}: another program listens there; end it or give "
        "another path"
    )


def _listen_on_path(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone_in(path.parent):
            if _check_replaceable(path):
                path.unlink()
            # The file must not be open to others between its making and a chmod.
            before = os.umask(0o777 & ~_SOCKET_MODE)
            try:
                listening.bind(str(path))
            finally:
                os.umask(before)
            listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise _unusable(path, error) from error
    except CloudError:
        listening.close()
        raise
    return listening


def _listen_on_port(address: HttpAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CloudError(
            f"cannot answer HTTP on {address.host}:{address.port} ({error}): choose another "
            "address or port"
        ) from error


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep two programs that start from replacing each other's sockets.

    Raises:
        CloudError: there is no such folder, or another program holds it for too long.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        give_up_s = time.monotonic() + _LOCK_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= give_up_s:
                    raise CloudError(
                        f"another program has locked {folder}: end it or give another path for HTTP"
                    ) from error
                time.sleep(_LOCK_PERIOD_S)
        yield
    finally:
        os.close(descriptor)


def _inode(path: Path) -> tuple[int, int] | None:
    """Which file lies at a path."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _unusable(path: Path, error: OSError) -> CloudError:
    return CloudError(
        f"cannot answer HTTP on {UNIX}{path} ({error.strerror or error}): give a path in a folder "
        "where this program may make files"
    )
