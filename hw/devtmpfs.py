"""The kernel's devtmpfs, which it has once, whatever a container finds at /dev."""

from __future__ import annotations

import ctypes
import os
import re
from contextlib import suppress
from pathlib import Path

_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
"""Numbers that these calls have on all architectures (include/uapi/asm-generic/unistd.h)."""
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_FSCONFIG_CMD_CREATE = 6
_CAP_SYS_ADMIN = 21
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_devtmpfs() -> int:
    """Open its root folder; the caller closes it.

    It is /dev on a host. Root in a container reaches it by a mount that no other process sees, from
    Linux 5.2 on (fsopen(2)); who may not mount gets /dev, whatever that is.

    Raises:
        OSError: there is none.
    """
    if _may_mount():
        with suppress(OSError):
            return _open_by_mount()
    return os.open("/dev", _DIRECTORY)


def _may_mount() -> bool:
    """Whether this process has the right; a service without it may be killed for trying."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return False
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return found is not None and bool(int(found.group(1), 16) >> _CAP_SYS_ADMIN & 1)


def _open_by_mount() -> int:
    context = _call(_FSOPEN, b"devtmpfs", _FSOPEN_CLOEXEC)
    try:
        _call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        mount = _call(_FSMOUNT, context, _FSMOUNT_CLOEXEC, 0)
    finally:
        os.close(context)
    try:
        return os.open(".", _DIRECTORY, dir_fd=mount)
    finally:
        os.close(mount)


def _call(*arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(*arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), "devtmpfs")
    return result
