"""Write a device file for this machine from the model of a similar one: `python -m hw.describe`.

    python -m hw.describe --like orin-nano --out my-board.toml [--root DIR]

The clocks are this machine's, everything else is the other model's: what `train.py --device
my-board.toml` learns fits this machine as well as the two are alike. `--root` takes what
`python -m hw.doctor --record DIR` saved on the board, so that this can be done at a desk.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from common import command
from hw.device.file import device_path
from hw.device.match import KINDS, LARGEST_DIFFERENCE, devices_like, of_kind
from hw.device.model import DeviceModel
from hw.doctor.survey import ClockSurvey, Survey, survey
from hw.errors import HardwareError, UnsupportedError
from hw.sysfs import Sysfs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def most_alike(found: Survey) -> str:
    """The shipped device model that a machine is most like.

    Raises:
        UnsupportedError: there is none.
    """
    alike = devices_like(found.clocks, found.boards)
    if not alike:
        raise UnsupportedError(f"no device model is like {found.machine}; name one by --like")
    return alike[0]


def describe(found: Survey, like: str, name: str) -> dict[str, Any]:
    """A device file for a machine.

    Args:
        found: the machine.
        like: the device model that it is most like.
        name: of the new device.

    Raises:
        DeviceFileError: `like` is unknown or damaged.
        UnsupportedError: nothing can be set.
    """
    if not of_kind("cpu", found.clocks):
        raise UnsupportedError(f"{found.machine} lets no processor clock be set; see hw.doctor")
    model = DeviceModel.load(like)
    document = tomllib.loads(device_path(like).read_text(encoding="utf-8"))
    document["name"], document["title"] = name, found.machine
    document["validated_on"] = []
    document["modelled"] = [
        f"everything: the model of {model.title}, at the clocks of {found.machine}",
        *document["modelled"],
    ]
    document["provenance"]["domains"] = (
        f"Clocks that can be set on {found.machine}. Delays: {like}."
    )
    for runtime in document.get("runtimes", {}).values():
        runtime["measured"] = f"on {model.title}: {runtime['measured']}"
    for of_another in ("gpu_tpcs", "power_modes"):
        document.pop(of_another, None)
    for kind in KINDS:
        document["domains"][kind]["available_hz"] = _points(kind, found.clocks, model)
    return document


def differences(clocks: Sequence[ClockSurvey], model: DeviceModel) -> Iterator[str]:
    """Why a machine is hardly like a device model; nothing where it may be."""
    for kind, domain in model.domains.items():
        mine, top_hz = of_kind(kind, clocks), domain.available_hz[-1]
        if kind in model.settable and not mine:
            yield f"the {kind}'s clock cannot be set here, but on {model.name}"
        elif mine and kind not in model.settable:
            yield f"the {kind}'s clock can be set here, but not on {model.name}"
        elif mine:
            here_hz = max(clock.available_hz[-1] for clock in mine)
            if abs(here_hz / top_hz - 1.0) > LARGEST_DIFFERENCE:
                yield (
                    f"the {kind} goes up to {here_hz / 1e6:.0f} MHz here, to {top_hz / 1e6:.0f} "
                    f"MHz on {model.name}"
                )


def _points(kind: str, clocks: Sequence[ClockSurvey], model: DeviceModel) -> list[int]:
    """Operating points of the clock that goes highest; the model's highest if there is none."""
    mine = of_kind(kind, clocks)
    if not mine:
        return [model.domains[kind].available_hz[-1]]
    return list(max(mine, key=lambda clock: clock.available_hz[-1]).available_hz)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 with one sentence when something is wrong."""
    parser = argparse.ArgumentParser(
        "python -m hw.describe", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--like", help="device model that this machine is most like")
    parser.add_argument("--root", type=Path, default=Path("/"), help="look at a recorded tree")
    parser.add_argument("--out", type=Path, required=True, help="the .toml file to write")
    arguments = parser.parse_args(argv)
    import tomli_w  # noqa: PLC0415 - an extra

    out: Path = arguments.out
    try:
        if out.suffix != ".toml":
            raise UnsupportedError(f"--out is {out}; give a name that ends in .toml")
        if out.exists():
            raise UnsupportedError(f"{out} exists; give another --out")
        if not (arguments.root / "sys").is_dir():
            raise HardwareError(f"{arguments.root} holds no folder sys; name a recorded tree")
        with closing(Sysfs(arguments.root)) as sysfs:
            found = survey(sysfs)
        if found.unseen:
            raise UnsupportedError(f"{'; '.join(found.unseen)}; describe the board as root")
        like = arguments.like or most_alike(found)
        document = describe(found, like, out.stem)
    except HardwareError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        out.write_text(tomli_w.dumps(document), encoding="utf-8")
    except OSError as error:
        print(f"error: cannot write {out} ({error.strerror}); give another --out", file=sys.stderr)
        return 2
    device = DeviceModel.load(out)
    print(device.status_line)
    unlike = list(differences(found.clocks, DeviceModel.load(like)))
    if unlike:
        print(
            f"warning: this machine and {like} are hardly alike: {'; '.join(unlike)}. What is "
            "learned in simulation may cost more here than the machine's own governors; compare "
            "(docs/board.md)"
        )
    print(f"next: {command.call('train')} --device {out}")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
