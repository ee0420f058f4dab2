"""The page: a table for each kind of network."""

from __future__ import annotations

from benchmarks.models import catalog, derived, network_row
from benchmarks.models.damage import row as damage_row
from benchmarks.models.result import Result, Rows
from benchmarks.page import markdown
from tests.partition.splitting import RELATIVE_ERROR
from tests.partition.splitting import SPREAD_CUTS as TORCH_CUTS

_CUT = ["opset", "s", "batch", "cuts", "x", "error", "served"]


def page(rows: Rows) -> str:
    """All of it."""
    parts = [_HEAD, _PACKAGES, _packages(rows), _DERIVED, _derived(rows), _DAMAGE]
    return "\n".join([*parts, _damage(rows), _TORCH, _torch(rows)])


def summary(rows: list[Result]) -> str:
    """How many ended in which way."""
    ends = {end: sum(row.ended == end for row in rows) for end in ("ok", "refused", "wrong")}
    return f"{ends['ok']} of {len(rows)} ok, {ends['refused']} refused, {ends['wrong']} wrong."


def _packages(rows: Rows) -> str:
    listed = catalog.networks()
    lines = []
    for row in _ok(rows, "packages"):
        package, network = listed[row.name]
        origin = f"{package.name} {package.version}".strip()
        lines.append([row.name, origin, package.licence, network.kind, *row.cells])
    table = markdown([["network", "package", "licence", "kind", *_CUT], *lines])
    return table + _rest(rows, "packages")


def _derived(rows: Rows) -> str:
    lines = []
    for row in _ok(rows, "derived"):
        source, _, kind = derived.MADE[row.name]
        lines.append([row.name, source, kind, *row.cells])
    return markdown([["network", "made of", "kind", *_CUT], *lines]) + _rest(rows, "derived")


def _damage(rows: Rows) -> str:
    lines = [[row.name, *row.cells] for row in _ok(rows, "damage")]
    return markdown([["network", "draws", "refused", "prepared"], *lines]) + _rest(rows, "damage")


def _torch(rows: Rows) -> str:
    lines = [[*row.name.split("/"), *row.cells] for row in _ok(rows, "torch")]
    return markdown([["network", "batch", "cuts", "x", "error", "s"], *lines]) + _rest(
        rows, "torch"
    )


def _ok(rows: Rows, section: str) -> list[Result]:
    return [row for row in rows.of(section) if row.ended == "ok"]


def _rest(rows: Rows, section: str) -> str:
    """Those that were refused, or are wrong, with the sentence; and the count."""
    others = [row for row in rows.of(section) if row.ended != "ok"]
    said = "".join(f"- {row.name}, {row.ended}: {row.cells[0]}\n" for row in others)
    return f"\n\n{said}{chr(10) if said else ''}{summary(rows.of(section))}\n"


_HEAD = """# Networks that were cut

    make models-test

`x` is the most tensors that cross at a cut, `s` seconds on one thread beside another of these.
"""
_PACKAGES = f"""## As they ship in packages

Files as they come out of the Python registry's packages (`tests/networks/catalog.toml` has their
hashes and what each is told, shapes for instance); the package is named with the licence that it
states. `error`: head plus tail against the unsplit network in ONNX Runtime, at every cut or
{network_row.SPREAD_CUTS} spread over the depth, with one sample, and with three where the batch is
free; the largest difference over the output's largest value. Up to {network_row.BARS["float32"]:g}
is ok for float32, {network_row.BARS["float16"]:g} where float16 crosses, and
{network_row.BARS["levels"]:g} where the network finds int8 levels while it runs (a last bit may
move a value by a level); whole numbers are equal.
`served`: split points at which `partition.server` answered through `SplitPipeline` what the tail
gives here on the same decoded tensors, bit for bit; where the batch is free, three requests at once
too.
"""
_DERIVED = """## Made of them

Kinds that no package on the list ships, made by `benchmarks/models/derived.py`.
"""
_DAMAGE = f"""## Damaged

Each file {damage_row.DRAWS} times: a fifth each cut short, one bit flipped, eight bits flipped, a
run of other bytes, one size or axis replaced by another number; nine tenths of the flips outside
large weights. `refused` is one sentence and exit code 2. A traceback, a crash of the process or a
minute without an end would be listed below the table.
"""
_TORCH = f"""## Exported from torch

At every cut or {TORCH_CUTS} spread over the depth; batches 1 and 3 where the batch is free. `error`
is the largest difference over the largest difference between two samples; {RELATIVE_ERROR:g} is the
bar. All but the EfficientNet-Lites have random weights and a few layers; sizes in
`tests/partition/architectures.py`.
"""
