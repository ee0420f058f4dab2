"""Small networks and cluster files with all that the format allows, where much is equal or just so.

Sizes come from three values, so that the input is as large as a later cut; some are zero. Memory is
what some stage needs, or a byte more or less. Links are missing, lead one way, or are all alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from partition.model.cost import Cost

MODES = ("throughput", "replicas", "max-latency", "latency", "latency at a rate", "energy")
_BYTES = (0, 1, 64, 1000, 4096, 50_000, 602_112, 1_000_000)
_FLOPS = (0, 1_000_000, 2_000_000, 5_000_000, 30_000_000)
_RATES_BPS = (8e5, 1e6, 8e6, 1e7, 1e8)
_DELAYS_S = (0.0, 0.0, 0.0005, 0.01)


@dataclass(frozen=True, kw_only=True)
class SmallCut:
    """What a placement needs to know of a legal cut."""

    name: str
    float32_bytes: int
    wire_bytes: int
    head: Cost
    peak_bytes: int

    @property
    def coded_bytes(self) -> int:
        """All of them."""
        return self.float32_bytes

    def request_bytes(self, bits: int) -> int:
        """The draw's own size, whatever the codec."""
        return self.wire_bytes


@dataclass(frozen=True, kw_only=True)
class SmallNetwork:
    """Stands in for a model folder."""

    cuts: tuple[SmallCut, ...]
    name: str = "small"
    fingerprint: str = "0" * 16

    def stage_bytes(self, i: int, j: int, queue_depth: int) -> int:
        """Weights, the largest peak, what waits at both ends."""
        first, last = self.cuts[i], self.cuts[j]
        waits = (queue_depth + 1) * (first.float32_bytes + last.float32_bytes)
        peak = max(cut.peak_bytes for cut in self.cuts[i + 1 : j + 1])
        return last.head.param_bytes - first.head.param_bytes + peak + waits


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A network, a cluster file and what is asked of them."""

    network: SmallNetwork
    text: str
    mode: str
    replicas: int
    memory_limit_bytes: int | None


def draw(seed: int) -> Instance:
    """An instance of the mode that is the seed's turn."""
    rng = np.random.default_rng(seed)
    mode = MODES[seed % len(MODES)]
    network = _network(rng)
    queue_depth = int(rng.choice([0, 1, 1, 3]))
    last = len(network.cuts) - 1
    needs = sorted(
        {network.stage_bytes(i, j, queue_depth) for j in range(1, last + 1) for i in range(j)}
    )
    text = _cluster(rng, mode, last, queue_depth, needs)
    limit = _near(rng, needs) if rng.random() < 0.15 else None
    replicas = int(rng.integers(2, 4)) if mode == "replicas" else 1
    return Instance(
        network=network, text=text, mode=mode, replicas=replicas, memory_limit_bytes=limit
    )


def _near(rng: np.random.Generator, needs: list[int]) -> int:
    """What a stage needs, exactly or nearly; large ones more often."""
    at = max(rng.integers(len(needs), size=2))
    return max(needs[at] + int(rng.choice([-1, 0, 0, 1])), 1)


def _network(rng: np.random.Generator) -> SmallNetwork:
    last = int(rng.integers(1, 7))
    three = rng.choice(_BYTES, 3)
    few_flops, few_weights = rng.choice(_FLOPS, 3), rng.choice(_BYTES, 3)
    flops = np.concatenate([[0], np.cumsum(rng.choice(few_flops, last))])
    weights = np.concatenate([[0], np.cumsum(rng.choice(few_weights, last))])
    peaks = np.concatenate([[0], rng.choice(three, last) * rng.integers(0, 3)])
    raw, wire = rng.choice(three, last + 1), rng.choice(three, last + 1)
    return SmallNetwork(
        cuts=tuple(
            SmallCut(
                name=f"cut {p}",
                float32_bytes=int(raw[p]),
                wire_bytes=int(wire[p]) if p < last else 0,
                head=Cost(int(flops[p]), int(weights[p])),
                peak_bytes=int(peaks[p]),
            )
            for p in range(last + 1)
        )
    )


def _cluster(
    rng: np.random.Generator, mode: str, last: int, queue_depth: int, needs: list[int]
) -> str:
    codec = str(rng.choice(["none", "int8"]))
    lines = ["schema_version = 1", f'codec = "{codec}"', f"queue_depth = {queue_depth}"]
    tables, names = _tables(rng, at_most=4 if mode == "replicas" else 5)
    for end in ("source", "sink"):
        if rng.random() < 0.5:
            lines.append(f'{end} = "{rng.choice(names)}"')
    if rng.random() < 0.5 and "source" in lines[-1]:
        lines.append(lines[-1].replace("source", "sink"))
    if rng.random() < 0.4:
        lines += ["[switch]", f"rate_bps = {rng.choice(_RATES_BPS)}"]
        lines += [f"delay_s = {rng.choice(_DELAYS_S)}"] if rng.random() < 0.5 else []
    for name, count in tables:
        lines += ["[[devices]]", f'name = "{name}"']
        lines += [f"count = {count}"] if count else []
        lines += _device(rng, mode, codec, last, needs)
    few_bps = rng.choice(_RATES_BPS, 3)
    for _ in range(int(rng.integers(0, 2 * len(names) + 1))):
        a, b = rng.choice([*names, *(name for name, _ in tables)], 2)
        lines += ["[[links]]", f'from = "{a}"', f'to = "{b}"', f"rate_bps = {rng.choice(few_bps)}"]
        lines += [f"delay_s = {rng.choice(_DELAYS_S)}"] if rng.random() < 0.3 else []
        lines += ["one_way = true"] if rng.random() < 0.4 else []
    return "\n".join(lines) + "\n"


def _tables(rng: np.random.Generator, at_most: int) -> tuple[list[tuple[str, int]], list[str]]:
    """Names with counts, and the devices that they make."""
    tables: list[tuple[str, int]] = []
    names: list[str] = []
    n = int(rng.integers(1, at_most + 1))
    while len(names) < n:
        name = "abcde"[len(tables)]
        count = int(rng.integers(0, n - len(names) + 1))
        tables.append((name, count))
        names += [f"{name}-{k + 1}" for k in range(count)] or [name]
    return tables, names


def _device(
    rng: np.random.Generator, mode: str, codec: str, last: int, needs: list[int]
) -> list[str]:
    reserve = int(rng.choice([0, 0, 1000]))
    room = _near(rng, needs) if rng.random() < 0.8 else 10**9
    lines = [f"memory_bytes = {room + reserve}", f"reserve_bytes = {reserve}"]
    if rng.random() < 0.8:
        lines.append(f"flops_per_s = {rng.choice([1e9, 2e9, 3e9])}")
    else:
        times = ", ".join(str(x) for x in rng.choice([0.0, 0.001, 0.003], last))
        lines.append(f"block_s = [{times}]")
    if codec != "none" or rng.random() < 0.2:
        lines.append(f"codec_bytes_per_s = {rng.choice([1e7, 1e9])}")
    if mode == "energy" or rng.random() < 0.2:
        lines.append(f"idle_w = {rng.choice([0, 1.5, 2])}")
        lines.append(f"send_w = {rng.choice([0, 0.5])}")
        slow = f"{{hz = 1e9, speed = {rng.choice([0.5, 0.75])}, busy_w = {rng.choice([1, 3])}}}, "
        fast = f"{{hz = 2000000000, speed = 1, busy_w = {rng.choice([3, 8])}}}"
        lines.append(f"clocks = [{slow if rng.random() < 0.7 else ''}{fast}]")
    return lines
