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
STREAMS = (1, 2)
PROGRESS = "preparing "
"""How lines begin that only say that it takes long."""


def main() -> None:
    folder, first, end = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    options = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    file = original((folder / "sound.onnx").read_bytes())
    report = os.fdopen(os.dup(1), "w", buffering=1)
    # Libraries, and the end of a process for want of memory, write past Python.
    for stream in STREAMS:
        os.dup2(os.open(folder / str(stream), os.O_RDWR | os.O_CREAT | os.O_TRUNC), stream)
    for draw in range(first, end):
        print(json.dumps({"draw": draw}), file=report)
        (folder / "damaged.onnx").write_bytes(damaged(file, draw))
        for stream in STREAMS:
            os.ftruncate(stream, 0)
            os.lseek(stream, 0, os.SEEK_SET)
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
    output, errors = ((folder / str(stream)).read_text(errors="replace") for stream in STREAMS)
    if code == 0:
        return {"end": "prepared", "told": ""}
    lines = [line for line in errors.splitlines() if not line.startswith(PROGRESS)]
    is_sentence = len(lines) == 1 and lines[0].startswith("error: ") and not output
    told = {"told": "\n".join([output, *lines])}
    return {"end": "refused" if code == 2 and is_sentence else "traceback", **told}


if __name__ == "__main__":
    main()
