"""Latency over clocks, from MLPerf submissions at full speed and at the clocks for least power."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from hw.calibrate.measured.architectures import SUBMITTED
from hw.calibrate.measured.found import BoardFit, FoundRuntime
from hw.calibrate.measured.shares import (
    ClocksHz,
    Ratio,
    Shares,
    all_shares,
    columns_of,
    gpu_share,
    scaling,
    sized,
)
from hw.calibrate.measured.tables import Submission, relative
from hw.calibrate.report import BarRow, Point

INT8 = "tensorrt-int8"
NX_BAR, AGX_BAR, ORIN_BAR = 0.035, 0.025, 0.12
ORIN_RELEASE = "3.0"
"""The only one in which stated clocks and what the board did agree."""
UNSTEADY = ("resnet50", "SingleStream")
"""At the clocks for least power its latency on the AGX Orin ranges from 0.8 to 2.0 ms."""
HOST_BOUND = "rnnt"
HOST_REASON = (
    "RNN-T follows the host, whose clock at full speed is not stated; the other five meet it (next "
    "row)"
)


def ratios(rows: Iterable[Submission], board: str, top: ClocksHz) -> list[Ratio]:
    """Latency at the clocks for least power over that at full speed, by network and release."""
    mine = [row for row in rows if row.board == board]
    full = {(r.release, r.network, r.scenario): r for r in mine if not r.is_efficient}
    found = []
    for row in mine:
        fast = full.get((row.release, row.network, row.scenario))
        if row.is_efficient and fast is not None:
            clocks = ClocksHz(row.cpu_hz, row.gpu_hz, row.emc_hz)
            found.append(
                Ratio(
                    row.network,
                    row.release,
                    clocks.slower(top),
                    row.latency_s / fast.latency_s,
                    row.scenario,
                )
            )
    return found


def latest_s(rows: Iterable[Submission], board: str) -> dict[str, float]:
    """Latency of each network at full speed in its latest release, one input at a time, s."""
    return {
        row.network: row.latency_s
        for row in sorted(rows, key=lambda row: row.release)
        if row.board == board and not row.is_efficient and row.scenario == "SingleStream"
    }


def fit_xavier(rows: Sequence[Submission], board: str, name: str, fit: BoardFit) -> None:
    """One share per network, each release held out in turn; adds run-time, bars and points.

    Args:
        rows: of all boards.
        board: as the submissions name it.
        name: of its device.
        fit: of the board so far.
    """
    measured = [r for r in ratios(rows, board, fit.top) if r.scenario == "SingleStream"]
    errors: dict[Ratio, float] = {}
    for row in measured:
        mine = [r for r in measured if r.network == row.network]
        others = [r for r in mine if r.release != row.release]
        predicted = gpu_share(others).ratio(row.slower)
        errors[row] = abs(relative(predicted, row.measured))
        fitted = gpu_share(mine).ratio(row.slower)
        label = f"{row.network} {row.release}"
        fit.points.append(Point(name, INT8, label, "ratio", row.measured, predicted, fitted))
    fit.bars += _xavier_bars(name, errors)
    common = _held_out(measured, gpu_share)
    fit.bars.append(
        BarRow(
            "latency over GPU clocks, a network never seen (one share for all)",
            *(len(measured), len(measured)),
            float(np.mean(list(common.values()))),
            board=name,
            runtime=INT8,
        )
    )
    seconds_by_network = latest_s(rows, board)
    for network in dict.fromkeys(row.network for row in measured):
        share = gpu_share([r for r in measured if r.network == network])
        fit.workloads[f"{network}_{INT8}"] = share.demand(seconds_by_network[network], fit.top)
    parts = xavier_parts(measured)
    _add_int8(fit, name, seconds_by_network, parts, _XAVIER_ASSUMED)
    fit.validated_on.append(
        "latency of six MLPerf networks under TensorRT in int8 over GPU clocks, each release "
        "predicted from the others"
    )


def xavier_parts(measured: Sequence[Ratio]) -> tuple[Shares, Shares, Shares]:
    """What kernels, operations and bytes follow: small networks are kernels, a large one not."""
    small = gpu_share([row for row in measured if row.network in ("resnet50", "ssd-mobilenet")])
    large = gpu_share([row for row in measured if row.network == "ssd-resnet34"])
    return small, large, large


def fit_orin(rows: Sequence[Submission], fit: BoardFit) -> Shares:
    """Shares common to all networks of one release, each network held out in turn.

    Args:
        rows: of all boards.
        fit: of the AGX Orin so far.

    Returns:
        Shares fitted to all.
    """
    name = "agx-orin"
    measured = [
        row
        for row in ratios(rows, "agx_orin", fit.top)
        if row.release == ORIN_RELEASE and (row.network, row.scenario) != UNSTEADY
    ]
    shares = all_shares(measured)
    single = [row for row in measured if row.scenario == "SingleStream"]
    errors = []
    for row in single:
        others = [r for r in measured if r.network != row.network]
        predicted = all_shares(others).ratio(row.slower)
        errors.append(abs(relative(predicted, row.measured)))
        fitted = shares.ratio(row.slower)
        fit.points.append(Point(name, INT8, row.network, "ratio", row.measured, predicted, fitted))
        fit.bars.append(
            BarRow(
                f"latency over all clocks, {row.network} held out",
                *(len(others), 1),
                errors[-1],
                board=name,
                runtime=INT8,
            )
        )
    fit.bars.append(
        BarRow(
            "latency over all clocks, mean of four networks, each held out",
            *(len(measured) - 1, len(single)),
            float(np.mean(errors)),
            ORIN_BAR,
            board=name,
            runtime=INT8,
        )
    )
    _add_int8(fit, name, latest_s(rows, "agx_orin"), (shares,) * 3, _ORIN_ASSUMED)
    fit.validated_on.append(
        "latency of four MLPerf networks (v3.0) under TensorRT in int8 over all clocks, each "
        "predicted from the others"
    )
    return shares


def fit_orin_nx(rows: Sequence[Submission], fit: BoardFit, shares: Shares) -> None:
    """The AGX Orin's costs times the mean ratio of the latencies of both at full speed.

    Args:
        rows: of all boards.
        fit: of the Orin NX so far.
        shares: of the AGX Orin.
    """
    mine = {r.network: r.latency_s for r in rows if r.board == "orin_nx" and _is_single(r)}
    theirs = {
        r.network: r.latency_s
        for r in rows
        if r.board == "agx_orin"
        and r.release == ORIN_RELEASE
        and _is_single(r)
        and not r.is_efficient
    }
    networks = [name for name in mine if name in theirs]
    factors = {name: mine[name] / theirs[name] for name in networks}
    for network in networks:
        others = [factors[other] for other in networks if other != network]
        predicted, fitted = (
            float(np.exp(np.mean(np.log(some)))) * theirs[network]
            for some in (others, list(factors.values()))
        )
        point = Point("orin-nx", INT8, network, "latency", mine[network], predicted, fitted)
        fit.points.append(point)
    errors = [abs(relative(p.predicted or 0.0, p.measured)) for p in fit.points]
    fit.bars.append(
        BarRow(
            "latency at full speed from the AGX Orin's, each network held out",
            *(len(networks) - 1, len(networks)),
            float(np.mean(errors)),
            board="orin-nx",
            runtime=INT8,
        )
    )
    factor = float(np.exp(np.mean(np.log(list(factors.values())))))
    seconds = factor * _int8_seconds(latest_s(rows, "agx_orin"))
    fit.runtimes[INT8] = FoundRuntime(
        measured=f"{factor:.2f} times the AGX Orin's latency at full speed: {len(networks)} MLPerf "
        "networks (v3.0), clocks not stated and taken as the highest",
        assumed=f"its division between the clocks is the AGX Orin's; {_SIZES}",
        network=scaling(seconds, (shares,) * 3, fit.top),
    )
    for network in networks:
        fit.workloads[f"{network}_{INT8}"] = shares.demand(mine[network], fit.top)


_SIZES = (
    "other networks by operations and kernels of three networks; their memory traffic is not known"
)
_XAVIER_ASSUMED = (
    "clocks at full speed (not stated, taken as the highest); what does not follow the GPU "
    f"clock is nearly fixed; a small part of it follows CPU and memory; {_SIZES}"
)
_ORIN_ASSUMED = f"the same division between the clocks for every network; {_SIZES}"


def _is_single(row: Submission) -> bool:
    return row.scenario == "SingleStream"


def _int8_seconds(latency_s: dict[str, float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    names = [name for name in SUBMITTED if name in latency_s]
    found = np.array([latency_s[name] for name in names])
    return sized([SUBMITTED[name] for name in names], found, traffic=False)


def _add_int8(
    fit: BoardFit,
    name: str,
    latency_s: dict[str, float],
    parts: tuple[Shares, Shares, Shares],
    assumed: str,
) -> None:
    seconds = _int8_seconds(latency_s)
    for network, size in SUBMITTED.items():
        modelled = float(columns_of(size) @ seconds)
        point = Point(name, INT8, network, "latency", latency_s[network], None, modelled)
        fit.points.append(point)
    fit.runtimes[INT8] = FoundRuntime(
        measured="MLPerf Inference submissions of NVIDIA (TensorRT, int8, one input at a time): "
        "latency at full speed and at the clocks for least power",
        assumed=assumed,
        network=scaling(seconds, parts, fit.top),
    )


def _held_out(rows: Sequence[Ratio], how: Callable[[list[Ratio]], Shares]) -> dict[str, float]:
    """Mean error of each network when the shares come from the others."""
    found = {}
    for network in dict.fromkeys(row.network for row in rows):
        shares = how([row for row in rows if row.network != network])
        mine = [row for row in rows if row.network == network]
        errors = [abs(relative(shares.ratio(row.slower), row.measured)) for row in mine]
        found[network] = float(np.mean(errors))
    return found


def _xavier_bars(name: str, errors: dict[Ratio, float]) -> list[BarRow]:
    what = "latency over GPU clocks, each release held out"
    if name == "xavier-nx":
        return [_bar(name, f"{what}, six networks", list(errors.values()), NX_BAR)]
    rest = [error for row, error in errors.items() if row.network != HOST_BOUND]
    return [
        _bar(name, f"{what}, six networks", list(errors.values()), AGX_BAR, HOST_REASON),
        _bar(name, f"{what}, without RNN-T", rest, AGX_BAR),
    ]


def _bar(name: str, what: str, errors: list[float], bar: float, reason: str = "") -> BarRow:
    return BarRow(
        what,
        *(len(errors), len(errors)),
        float(np.mean(errors)),
        bar,
        board=name,
        runtime=INT8,
        reason=reason,
    )
