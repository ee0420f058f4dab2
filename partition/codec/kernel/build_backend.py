"""setuptools, plus a C compiler from a wheel where the machine has none.

The compiler (package ziglang, about 90 MB) is in the build's own environment and gone after it.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_ZIG_TARGET = f"{platform.machine()}-linux-gnu.2.28"
"""glibc of Debian 10 and JetPack 5: older than what any supported board runs."""


def get_requires_for_build_wheel(settings: Any = None) -> list[str]:
    """What setuptools asks for, and a compiler if there is none."""
    return [*build_meta.get_requires_for_build_wheel(settings), *_compiler()]


def get_requires_for_build_editable(settings: Any = None) -> list[str]:
    """What setuptools asks for, and a compiler if there is none."""
    return [*build_meta.get_requires_for_build_editable(settings), *_compiler()]


def _compiler() -> list[str]:
    if _HAS_COMPILER:
        return []
    sys.stderr.write("no C compiler here: taking the one of the wheel ziglang\n")
    return ["ziglang>=0.13"]


_COMPILERS = [os.environ.get("CC", "cc").split()[0], "gcc", "clang"]
_HAS_COMPILER = any(map(shutil.which, _COMPILERS))
if not _HAS_COMPILER:
    _ZIG = f"{sys.executable} -m ziglang cc -target {_ZIG_TARGET} -mcpu=baseline"
    os.environ |= {"CC": _ZIG, "LDSHARED": f"{_ZIG} -shared -s"}
    os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", tempfile.mkdtemp(prefix="dvfo-build-"))
elif "CC" not in os.environ:
    os.environ["CC"] = next(name for name in _COMPILERS if shutil.which(name))
