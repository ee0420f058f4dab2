"""An invented board whose power follows no fitted form, and what a bench would see of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from envs.calibration.samples import NETWORK, Kind, Piece, Sample, Work, work
from partition.model.cost import Cost
from partition.model.routes import Route, RouteOption

CPU_HZ = (500_000_000, 900_000_000, 1_400_000_000, 2_000_000_000)
GPU_HZ = (300_000_000, 500_000_000, 700_000_000, 900_000_000, 1_100_000_000, 1_300_000_000)
DEPTHS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.6, 0.75, 0.9, 1.0)
SENT = (150_000, 200_000, 100_000, 60_000, 50_000, 20_000, 20_000, 5_000, 0)
EVERY_S = 3.0


def _cost(depth: float) -> Cost:
    """Early layers move more bytes, late ones compute more."""
    return Cost(int(8e8 * depth**1.2), 0, int(8e7 * depth**0.7), int(60 * depth))


def _option(index: int) -> RouteOption:
    edge = _cost(DEPTHS[index])
    return RouteOption(
        route=Route(index),
        name=f"cut{index}",
        wire_bytes=SENT[index],
        edge=edge,
        fallback=_cost(1.0) - edge,
        cloud_flops=int(8e8 - edge.flops),
        accuracy=None,
        interval=None,
        fallback_accuracy=None,
    )


OPTIONS = tuple(_option(index) for index in range(len(DEPTHS)))
CONTROL = {"cpu": float(CPU_HZ[2]), "gpu": float(GPU_HZ[3])}
WHOLE = Piece(Kind.HEAD, len(OPTIONS) - 1)
CANDIDATES = work(
    [Piece(Kind.HEAD, route) for route in (2, 5, 8) for _ in CPU_HZ for _ in GPU_HZ],
    [{"cpu": cpu, "gpu": gpu} for _ in range(3) for cpu in CPU_HZ for gpu in GPU_HZ],
    OPTIONS,
)


def latency_s(done: Work) -> np.ndarray:
    """The network by the GPU's clock, pictures and codec by the processor's."""
    at_top_s = done.rows.sizes @ np.array([30e-6, 8e-12, 1e-11, 1e-4])
    network_s = at_top_s * GPU_HZ[-1] / done.rows.gpu_hz
    host_s = (2e-3 + 2e-8 * done.sent_bytes) * CPU_HZ[-1] / done.rows.cpu_hz
    return np.where(done.is_of(*NETWORK), network_s, np.where(done.is_of(Kind.HOST), host_s, 0.0))


def power_w(done: Work, uneven: np.ndarray) -> np.ndarray:
    """A table: both clocks' voltages rise towards their ends, with irregularities."""
    cpu = np.searchsorted(CPU_HZ, done.rows.cpu_hz)
    gpu = np.searchsorted(GPU_HZ, done.rows.gpu_hz)
    volts = np.array([0.7, 0.75, 0.85, 1.0]), np.array([0.7, 0.7, 0.76, 0.84, 0.92, 1.0])
    cpu_w = 1.1 * volts[0][cpu] ** 2 * done.rows.cpu_hz / CPU_HZ[-1]
    gpu_w = 3.2 * volts[1][gpu] ** 2 * done.rows.gpu_hz / GPU_HZ[-1]
    host, network = done.is_of(Kind.HOST), done.is_of(*NETWORK)
    idle_w = 1.6 + 0.15 * volts[0][cpu] ** 2 + 0.3 * volts[1][gpu] ** 2 + 0.1 * (gpu >= 4)
    busy_w = host * cpu_w + network * gpu_w
    return np.asarray((idle_w + busy_w) * uneven[cpu, gpu, host + 2 * network])


def uneven(seed: int) -> np.ndarray:
    """2 % of irregularity, by point and kind of work."""
    drawn = np.random.default_rng(seed).normal(size=(len(CPU_HZ), len(GPU_HZ), 3))
    return 1.0 + 0.02 * np.clip(drawn, -2.0, 2.0)


def samples(
    seed: int, n: int, slower: Callable[[Work], np.ndarray] = lambda done: np.ones(len(done))
) -> list[Sample]:
    """Pieces at points by chance, every tenth the control point; noise, drift, gain and steps.

    Args:
        seed: of everything.
        n: how many.
        slower: factor on the latency of each piece.
    """
    rng = np.random.default_rng(seed)
    is_control = np.arange(n) % 10 == 0
    pieces, clocks = _drawn(rng, is_control)
    done = work(pieces, clocks, OPTIONS)
    began_s = EVERY_S * np.arange(n)
    drift = 1.0 + 0.05 * np.sin(2.0 * np.pi * (began_s / 400.0 + rng.uniform()))
    gain = 1.0 + rng.uniform(-0.03, 0.03)
    noise = rng.normal(size=(2, n))
    seen_s = latency_s(done) * slower(done) * (1.0 + 0.01 * noise[0])
    seen_w = power_w(done, uneven(seed)) * gain * drift / drift.mean() * (1.0 + 0.005 * noise[1])
    return [
        Sample(
            kind=pieces[i].kind,
            route=pieces[i].route,
            requested_hz=clocks[i],
            applied_hz=clocks[i],
            began_s=float(began_s[i]),
            duration_s=1.5,
            n_runs=20,
            latency_s=float(seen_s[i]) or None,
            latency_error=0.01,
            power_w=round(float(seen_w[i]), 2),
            power_error=0.02,
            temperature_c=45.0 + float(rng.normal()),
            is_control=bool(is_control[i]),
        )
        for i in range(n)
    ]


def _drawn(
    rng: np.random.Generator, is_control: Sequence[bool]
) -> tuple[list[Piece], list[dict[str, float]]]:
    kinds = (Kind.HEAD, Kind.HEAD, Kind.TAIL, Kind.HOST, Kind.IDLE)
    pieces: list[Piece] = []
    clocks: list[dict[str, float]] = []
    for control in is_control:
        kind = kinds[rng.integers(len(kinds))]
        routes = range(1, len(OPTIONS)) if kind is Kind.HEAD else range(len(OPTIONS) - 1)
        drawn = Piece(kind, int(rng.choice(routes)))
        point = {"cpu": float(rng.choice(CPU_HZ)), "gpu": float(rng.choice(GPU_HZ))}
        pieces.append(WHOLE if control else drawn)
        clocks.append(CONTROL if control else point)
    return pieces, clocks
