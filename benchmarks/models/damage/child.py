"""Preparation of damaged files one after another, in a process that may be lost.

python -m benchmarks.models.damage.child FOLDER FIRST END, options of prepare on standard input
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from pathlib import Path

from benchmarks.models.damage.files import damaged, original
from partition import cli
from partition.prepare import __main__ as command

MEMORY_BYTES = 6_000_000_000
"""A size that was changed may ask for any amount."""


def main() -> None:
    folder, first, end = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    options = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    file = original((folder / "sound.onnx").read_bytes())
    report = os.fdopen(os.dup(1), "w", buffering=1)
    told = os.open(folder / "told", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):  # libraries and the end of a process write past Python
        os.dup2(told, stream)
    for draw in range(first, end):
        print(json.dumps({"draw": draw}), file=report)
        (folder / "damaged.onnx").write_bytes(damaged(file, draw))
        os.ftruncate(told, 0)
        os.lseek(told, 0, os.SEEK_SET)
        end_of_it = _prepared(folder, options)
        print(json.dumps(end_of_it), file=report)


def _prepared(folder: Path, options: list[str]) -> dict[str, str]:
    """How the command ended, as its user would see it."""
    arguments = ["--model", str(folder / "damaged.onnx"), "--out", str(folder / "out"), *options]
    sys.argv = ["partition.prepare", *arguments]
    try:
        code = cli.run(command._main)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException as error:  # a traceback, in the command's own process
        return {"end": "traceback", "told": "".join(traceback.format_exception(error)[-3:])}
    text = (folder / "told").read_text(errors="replace")
    if code == 0:
        return {"end": "prepared", "told": ""}
    is_one = text.startswith("error: ") and text.count("\n") == 1
    return {"end": "refused" if code == 2 and is_one else "traceback", "told": text}


if __name__ == "__main__":
    main()
