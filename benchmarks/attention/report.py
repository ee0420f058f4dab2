"""Write `results/attention.md` and its pictures from the tables that training left there.

`python -m benchmarks.attention.report [--results DIR]` reads `attention-*.json` (accuracy tables)
and `rankings-*.json` (of `benchmarks.attention.rankings`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.attention import figures
from partition import cli, json_file
from partition.errors import PartitionError
from partition.model.accuracy_table import AccuracyRow, AccuracyTable

MAX_LOSS = 0.01
MIN_RATIO = 8
_RIVALS = {"magnitude": "magnitude", "random": "random per image", "fixed": "one random order"}


def markdown(tables: Sequence[AccuracyTable], rankings: Sequence[dict[str, Any]]) -> str:
    """The page, from the same numbers as the pictures."""
    lines = [
        "# Attention at the cut",
        "",
        "Written by `python -m benchmarks.attention.report`. Fashion-MNIST, 10,000 test images, "
        "used for this page only; whatever is chosen is chosen on 5,000 validation images. "
        "Intervals are 95 %. Bytes are those of the request on the wire, headers included. The "
        "networks take colour images of 3,072 bytes; these garments, grey and 28 x 28, would also "
        "fit in 784.",
        "",
        "## Bars",
        "",
        "| | what | bar | measured |",
        "|---|---|---|---|",
        *_bars(tables, rankings),
        "",
        "The control `one random order` sends the same channels of every image, drawn once per "
        "run, and both sides learn to live with them. It is no part of the bar, and attention does "
        "not beat it: what attention wins over magnitude and chance comes from an order that stays "
        "the same from image to image.",
        "",
        "Not blind: a first version of this page (2 epochs) missed the first bar on "
        "fashion-mobilenet with 1.11 points and had a second head that saw raw logits, worse than "
        "the highest class probability; training was then doubled and the head changed. The "
        "rankings are of the first version, whose second head does not touch what is ranked.",
        "",
        "## Bytes and accuracy",
        "",
        "![Accuracy over bytes per cut](attention-bytes.png)",
        "",
    ]
    for table in tables:
        lines += _table(table)
    lines += ["## Rankings", "", "![Accuracy over xi per ranking](attention-rankings.png)", ""]
    for result in rankings:
        lines += _ranking(result)
    lines += ["## Early exit", "", "![Accuracy over appeals](attention-appeals.png)", ""]
    lines += _appeals(tables)
    return "\n".join(lines) + "\n"


def chosen(table: AccuracyTable, splits: Sequence[str]) -> AccuracyRow | None:
    """Most accurate row on validation images with at least `MIN_RATIO` times fewer bytes."""
    small = [
        row
        for row in table.rows
        if row.split in splits and 0 < MIN_RATIO * row.wire_bytes <= row.float32_bytes
    ]
    return max(small, key=lambda row: row.validation_accuracy, default=None)


def _bars(tables: Sequence[AccuracyTable], rankings: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for table in tables:
        best = chosen(table, list(table.appeals))
        for split in table.appeals:
            row = chosen(table, [split])
            if row is None:
                continue
            loss = table.whole_accuracy - row.accuracy
            ratio = row.float32_bytes / row.wire_bytes
            mark, bar = "-", "-"
            if row is best:  # which cut to use is chosen by the table too
                mark, bar = _met(loss <= MAX_LOSS), f"<= {100 * MAX_LOSS:g}"
            lines.append(
                f"| {mark} | {table.model}, {split}, points lost with {MIN_RATIO} times fewer "
                f"bytes | {bar} | {100 * loss:.2f} with {ratio:.1f} times "
                f"fewer (xi {row.xi:.3g}, {row.bits} bits, {row.wire_bytes} of "
                f"{row.float32_bytes} bytes) |"
            )
    for result in rankings:
        for name, label in _RIVALS.items():
            mean, low, high = (100 * v for v in result["attention_minus"][name]["mean"])
            mark = "-" if name == "fixed" else _met(low > 0)
            bar = "-" if name == "fixed" else "> 0"
            lines.append(
                f"| {mark} | {result['model']}, {result['split']}, attention minus {label}, points "
                f"over all xi | {bar} | {mean:+.2f} ({low:+.2f} to {high:+.2f}) |"
            )
    return lines


def _met(met: bool) -> str:
    return "ok" if met else "missed"


def _table(table: AccuracyTable) -> list[str]:
    lines = [
        f"### {table.model}",
        "",
        f"Unsplit: {100 * table.whole_accuracy:.2f} %. `{table.command}`",
        "",
        "| split point | xi | bits | accuracy, % | bytes | of float32 | lambda | edge MFLOP "
        "| cloud MFLOP |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table.rows:
        if row.xi == 0 and row.bits == 4:
            continue
        share = f"1/{row.float32_bytes / row.wire_bytes:.1f}" if row.wire_bytes else "-"
        lines.append(
            f"| {row.split} | {row.xi:.3g} | {row.bits} | {_interval(row)} | {row.wire_bytes} | "
            f"{share} | {row.edge_weight:.2f} | {row.edge_flops / 1e6:.2f} | "
            f"{row.cloud_flops / 1e6:.2f} |"
        )
    return [*lines, ""]


def _interval(row: AccuracyRow) -> str:
    return f"{100 * row.accuracy:.2f} ({100 * row.low:.2f} to {100 * row.high:.2f})"


def _ranking(result: dict[str, Any]) -> list[str]:
    lines = [
        f"### {result['model']}, {result['split']}",
        "",
        f"{len(result['seeds'])} seeds, {result['n_train']} training images, "
        f"{result['epochs']} epochs, {result['bits']} bits. `{result['command']}`",
        "",
        "| xi | bytes | attention, % | "
        + " | ".join(f"minus {v}" for v in _RIVALS.values())
        + " |",
        "|---|---|---|" + "---|" * len(_RIVALS),
    ]
    for i, (xi, size) in enumerate(zip(result["xi"], result["wire_bytes"], strict=True)):
        mean, low, high = (100 * v for v in result["accuracy"]["attention"][i])
        cells = [f"{xi:.3g}", f"{size}", f"{mean:.2f} ({low:.2f} to {high:.2f})"]
        for name in _RIVALS:
            mean, low, high = (100 * v for v in result["attention_minus"][name]["per_xi"][i])
            cells.append(f"{mean:+.2f} ({low:+.2f} to {high:+.2f})")
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _appeals(tables: Sequence[AccuracyTable]) -> list[str]:
    lines = [
        "The branch answers from all channels; who appeals sends them all at 8 bits. The threshold "
        "is the lowest that costs at most half a point on validation images.",
        "",
        "| network | split point | edge, % | cloud, % | appeals, % | accuracy, % | by chance, % |",
        "|---|---|---|---|---|---|---|",
    ]
    for table in tables:
        for split, found in table.appeals.items():
            edge, cloud = found["edge_accuracy"], found["cloud_accuracy"]
            share = found["share_of_appeals"]
            numbers = (edge, cloud, share, found["accuracy"], edge + share * (cloud - edge))
            cells = " | ".join(f"{100 * number:.2f}" for number in numbers)
            lines.append(f"| {table.model} | {split} | {cells} |")
    return lines


def read(results: Path) -> tuple[list[AccuracyTable], list[dict[str, Any]]]:
    """Tables and rankings in a results folder.

    Raises:
        PartitionError: there are none, or one is corrupt.
    """
    tables = [AccuracyTable.read(path) for path in sorted(results.glob("attention-*.json"))]
    if not tables:
        raise PartitionError(f"{results} holds no attention-*.json: copy accuracy.json there first")
    try:
        paths = sorted(results.glob("rankings-*.json"))
        rankings = [json_file.read(path) for path in paths]
    except (OSError, ValueError) as error:
        raise PartitionError(f"rankings in {results} are corrupt ({error})") from error
    return tables[::-1], rankings[::-1]


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attention.report", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder to read and write"
    )
    folder = parser.parse_args().results
    tables, rankings = read(folder)
    (folder / "attention.md").write_text(markdown(tables, rankings), encoding="utf-8")
    pictures = {
        "attention-bytes.png": figures.bytes_figure(tables),
        "attention-appeals.png": figures.appeals_figure(tables),
    }
    if rankings:
        pictures["attention-rankings.png"] = figures.rankings_figure(rankings)
    for name, figure in pictures.items():
        figure.savefig(folder / name, dpi=120)
    sys.stdout.write(f"wrote {folder / 'attention.md'}, {', '.join(pictures)}\n")


if __name__ == "__main__":
    sys.exit(cli.run(_main))
