"""Systems that boards come with: what Python they have, and what ONNX Runtime can use there.

The one table of them: `python -m hw.doctor --systems` prints it, docs/board.md shows it.
"""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from common.extras import brought_by, clash
from hw.errors import HardwareError
from hw.sysfs import Sysfs

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
"""That this project runs on, as pyproject.toml has them."""
TEGRA = "etc/nv_tegra_release"
"""Only Jetson boards have it."""
RELEASE = "etc/os-release"
ARMBIAN = "etc/armbian-release"
RASPBERRY = "etc/rpi-issue"
INSTALL = "./install.sh"
_L4T = re.compile(r"R(\d+)")
_JETPACK_OF_L4T = {32: 4, 34: 5, 35: 5, 36: 6, 38: 7, 39: 7}
"""Major releases: of Jetson Linux, which that file names, and of JetPack, which people name."""
_64_BIT = 2**32


@dataclass(frozen=True, slots=True)
class System:
    """A system, as it is shipped.

    Attributes:
        name: of the system and its release.
        boards: that come with it.
        python: version of its `python3`; None where that is of the system that it is built on.
        glibc: version of its C library, which decides what wheels it takes; None likewise.
        accelerator: which ONNX Runtime uses a GPU or NPU, or why none does.
        runtime: options of install.sh that bring it.
    """

    name: str
    boards: str
    python: tuple[int, int] | None
    glibc: tuple[int, int] | None
    accelerator: str
    runtime: str = ""

    @property
    def install(self) -> str:
        """The command that installs this project there."""
        own = self.python is None or OLDEST_PYTHON <= self.python <= NEWEST_PYTHON
        return INSTALL if own else f"{INSTALL} --standalone"

    @property
    def acceleration(self) -> str:
        """The ONNX Runtime for a GPU or NPU, with the command that brings it."""
        command = f": `{self.install} {self.runtime}`" if self.runtime else ""
        return f"{self.accelerator}{command}"


_JETSON_INDEX = "--runtime onnxruntime-gpu --index https://pypi.jetson-ai-lab.io"
_NO_VIDEOCORE = "none: ONNX Runtime has no provider for VideoCore"
_CARDS = "on a PC with an NVIDIA card, the registry's build"
_CARD = "--runtime onnxruntime-gpu"
_PCS = "PCs, many others"
ARMBIAN_ITSELF = System(
    "Armbian",
    "RK3588, many others",
    None,
    None,
    "none: Rockchip's NPU is reached by its own RKNN alone, and there is no provider for Mali",
)
# Pythons and C libraries are the systems' own. Wheels for aarch64 of all that the extras edge and
# photos bring are there for each of these C libraries (onnxruntime after 1.28 needs 2.28).
JETPACKS = {
    4: System(
        "JetPack 4",
        "Nano, TX1, TX2, Xavier",
        (3, 6),
        (2, 27),
        # Builds for it (Jetson Zoo) end at Python 3.6 and ONNX Runtime 1.11.
        "none: there is no build of 1.20 or later for its CUDA 10.2",
    ),
    5: System(
        "JetPack 5",
        "Xavier, Orin",
        (3, 8),
        (2, 31),
        "none: 1.18 is the last that builds with its CUDA 11.4, and 1.20 is needed",
    ),
    6: System(
        "JetPack 6",
        "Orin",
        (3, 10),
        (2, 35),
        "NVIDIA's build for CUDA 12.6",
        f"{_JETSON_INDEX}/jp6/cu126",
    ),
    7: System(
        "JetPack 7",
        "Thor, Orin from 7.2 on",
        (3, 12),
        (2, 39),
        "NVIDIA's build for CUDA 13",
        f"{_JETSON_INDEX}/sbsa/cu130",
    ),
}
RASPBERRIES = {
    "12": System("Raspberry Pi OS 12 (bookworm)", "Pi 4, Pi 5", (3, 11), (2, 36), _NO_VIDEOCORE),
    "13": System("Raspberry Pi OS 13 (trixie)", "Pi 4, Pi 5", (3, 13), (2, 41), _NO_VIDEOCORE),
}
DISTRIBUTIONS = {
    ("debian", "11"): System("Debian 11", _PCS, (3, 9), (2, 31), _CARDS, _CARD),
    ("debian", "12"): System("Debian 12", _PCS, (3, 11), (2, 36), _CARDS, _CARD),
    ("debian", "13"): System("Debian 13", _PCS, (3, 13), (2, 41), _CARDS, _CARD),
    ("ubuntu", "20.04"): System("Ubuntu 20.04", _PCS, (3, 8), (2, 31), _CARDS, _CARD),
    ("ubuntu", "22.04"): System("Ubuntu 22.04", _PCS, (3, 10), (2, 35), _CARDS, _CARD),
    ("ubuntu", "24.04"): System("Ubuntu 24.04", _PCS, (3, 12), (2, 39), _CARDS, _CARD),
    ("ubuntu", "26.04"): System("Ubuntu 26.04", _PCS, (3, 14), (2, 43), _CARDS, _CARD),
}
SYSTEMS = (
    *JETPACKS.values(),
    *RASPBERRIES.values(),
    ARMBIAN_ITSELF,
    *DISTRIBUTIONS.values(),
)


@dataclass(frozen=True, slots=True)
class SystemSurvey:
    """Software of a machine.

    Attributes:
        row: of the table; None for a system that is not in it.
        python: version that runs this; None for a recorded tree.
        onnx_runtimes: builds of ONNX Runtime that are installed for it, with their versions.
        problems: what is in the way of running a network, in words with the remedy.
    """

    row: System | None
    python: str | None
    onnx_runtimes: tuple[str, ...]
    problems: tuple[str, ...]


def survey_system(sysfs: Sysfs) -> SystemSurvey:
    """What system a machine has, and what is installed if it is this one."""
    row = system_of(sysfs)
    if not sysfs.is_live:
        return SystemSurvey(row, None, (), ())
    problems = list(filter(None, [clash("onnxruntime")]))
    if sys.maxsize < _64_BIT:
        problems.append(
            "this Python is a 32-bit program, for which ONNX Runtime has no wheels; install the "
            "64-bit image of the system"
        )
    runtimes = brought_by("onnxruntime")
    return SystemSurvey(row, platform.python_version(), runtimes, tuple(problems))


def system_of(sysfs: Sysfs) -> System | None:
    """The row of the table that a machine is; None if it is none of them."""
    tegra = _L4T.search(_text(sysfs, TEGRA))
    if tegra:
        return JETPACKS.get(_JETPACK_OF_L4T.get(int(tegra[1]), 0))
    release = _release(_text(sysfs, RELEASE))
    name, version = release.get("ID", ""), release.get("VERSION_ID", "")
    if name == "raspbian" or sysfs.exists(sysfs.path(RASPBERRY)):
        return RASPBERRIES.get(version)
    below = DISTRIBUTIONS.get((name, version))
    if not sysfs.exists(sysfs.path(ARMBIAN)):
        return below
    if below is None:
        return ARMBIAN_ITSELF
    itself = f"{ARMBIAN_ITSELF.name} on {below.name}"
    return replace(ARMBIAN_ITSELF, name=itself, python=below.python, glibc=below.glibc)


def _release(text: str) -> dict[str, str]:
    """Names and values of os-release, which quotes as a shell does."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        with suppress(ValueError):  # an open quotation
            found[name] = "".join(shlex.split(value))
    return found


def _text(sysfs: Sysfs, name: str) -> str:
    with suppress(HardwareError):
        return sysfs.read_text(sysfs.path(name))
    return ""


def table() -> Iterator[str]:
    """All systems, as lines of a Markdown table."""
    yield "| system | boards | Python, glibc | install | ONNX Runtime for GPU or NPU |"
    yield "|---|---|---|---|---|"
    for row in SYSTEMS:
        versions = "of the Debian or Ubuntu that it is built on"
        if row.python and row.glibc:
            versions = f"{_dotted(row.python)}, {_dotted(row.glibc)}"
        cells = (row.name, row.boards, versions, f"`{row.install}`", row.acceleration)
        yield f"| {' | '.join(cells)} |"


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def lines(found: SystemSurvey) -> Iterator[str]:
    """What a machine has and what follows from it, in lines without their heading."""
    row = found.row
    words = [row.name if row else "not in the table of python -m hw.doctor --systems"]
    if found.python:
        words += [f"Python {found.python}", *(found.onnx_runtimes or ["no ONNX Runtime"])]
    elif row and row.python:
        words.append(f"Python {_dotted(row.python)}")
    yield ", ".join(words) + (f"; to install: {row.install}" if row else "")
    if row:
        yield f"GPU, NPU: {row.acceleration}".replace("`", "")
