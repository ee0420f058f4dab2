"""A profile as text that a person can read."""

from __future__ import annotations

from typing import Any

from partition.profile.measures import of_name

_NAME_WIDTH = 34


def text(result: dict[str, Any]) -> str:
    """What `partition.profile.measure.profile` returned, as two tables."""
    return "\n".join([*_blocks(result), "", *_split_points(result)]) + "\n"


def _blocks(result: dict[str, Any]) -> list[str]:
    raw_bytes, jpeg_bytes = result["input"]["raw_bytes"], result["input"]["jpeg_bytes"]
    sent = f"{raw_bytes / 1e3:.1f} kB as it is"
    if jpeg_bytes:
        sent = f"{raw_bytes / 1e3:.1f} kB as bytes, {jpeg_bytes / 1e3:.1f} kB as JPEG"
    lines = [
        f"{result['model']} {result['fingerprint']}: input {sent}. Shares are of int8 over these.",
        f"{'block':{_NAME_WIDTH}} {'MFLOP':>8} {'kB par':>8} {'kB peak':>8} {'ms':>7} "
        f"{'cut kB':>8} {'int8 kB':>8} {'/input':>7} {'/JPEG':>7} {'values':>7}",
    ]
    for block in result["blocks"]:
        mark = "** compressive" if block["compressive"] else "* natural" if block["natural"] else ""
        several = f" x{block['tensors']}" if block["tensors"] > 1 else ""
        of_jpeg = f"{block['int8_bytes'] / jpeg_bytes:7.2f}" if jpeg_bytes else "      -"
        lines.append(
            f"{_short(block['name'] + several)} {block['flops'] / 1e6:8.1f} "
            f"{block['param_bytes'] / 1e3:8.1f} {block['peak_bytes'] / 1e3:8.1f} "
            f"{block['latency_s'] * 1e3:7.3f} {block['cut_bytes'] / 1e3:8.1f} "
            f"{block['int8_bytes'] / 1e3:8.1f} {block['int8_bytes'] / raw_bytes:7.2f} {of_jpeg} "
            f"{block['compression']:7.4f} {mark}".rstrip()
        )
    natural = sum(block["natural"] for block in result["blocks"])
    compressive = sum(block["compressive"] for block in result["blocks"])
    lines.append(
        f"{len(result['blocks'])} cuts, {natural} with fewer values than the input (*), "
        f"{compressive} with fewer than any cut before (**); xN: N tensors cross"
    )
    return lines


def _split_points(result: dict[str, Any]) -> list[str]:
    codecs = list(result["split_points"][0]["fidelity"])
    lines = [
        f"{result['whole_s'] * 1e3:.2f} ms unsplit, {result['threads']} thread(s), medians of "
        f"{result['repeats']}; {_fidelity(result)}",
        f"{'split point':{_NAME_WIDTH}} {'wire kB':>8} {'head ms':>8} {'tail ms':>8} {'ratio':>6} "
        f"{'codec us':>8} {' '.join(f'{name:>7}' for name in codecs)}",
    ]
    for point in result["split_points"]:
        codec_s = point["encode_s"] + point["decode_s"]
        values = " ".join(f"{_shown(point['fidelity'][name]):>7}" for name in codecs)
        lines.append(
            f"{_short(point['name'])} {point['wire_bytes'] / 1e3:8.1f} "
            f"{point['head_s'] * 1e3:8.2f} {point['tail_s'] * 1e3:8.2f} "
            f"{point['split_ratio']:6.3f} {codec_s * 1e6:8.0f} {values}"
        )
    return lines


def _fidelity(result: dict[str, Any]) -> str:
    """What the last columns are, or why they are empty."""
    if result["measure"] is None:
        return f"fidelity unknown, {result['why']}"
    meaning = of_name(result["measure"]).meaning
    return f"fidelity as {result['measure']}: {meaning} ({result['why']}), over {result['inputs']}"


def _shown(value: dict[str, float] | None) -> str:
    return "unknown" if value is None else f"{value['value']:.3f}"


def _short(name: str) -> str:
    """The end of a name says more than its beginning."""
    if len(name) > _NAME_WIDTH:
        name = f"..{name[2 - _NAME_WIDTH :]}"
    return f"{name:{_NAME_WIDTH}}"
