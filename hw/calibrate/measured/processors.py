"""Networks on processors and small GPUs: EfficientNet-Lite from MobileNet and ResNet-50."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from hw.calibrate.measured.architectures import size_of
from hw.calibrate.measured.found import BoardFit, FoundRuntime
from hw.calibrate.measured.shares import GPU, HOST, ClocksHz, Shares, columns_of, scaling, sized
from hw.calibrate.measured.tables import ProcessorRow, relative
from hw.calibrate.networks import NetworkSize
from hw.calibrate.report import BarRow, Point
from hw.device.power import PowerModel
from hw.device.runtime import Activity
from hw.device.units import Floats

LITE_BAR = 0.15
JUDGED = "efficientnet-lite0-non-quantized"
HALF_S = 0.010
"""Latency at which half of a network's activity on a processor is reached."""
ALONE = 1.0
"""Utilisation of the unit that computes."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A run-time of a board in the measurements.

    Attributes:
        runtime: our name for it.
        board: as the measurements name it.
        engine: as they name it.
        releases: of MLPerf Inference that are taken.
        follows: the clock of the unit that computes.
        has_unlike_cores: whether there are fast and slow ones, and it is not stated which ran.
        cores: that compute, where power was not read with them.
    """

    runtime: str
    board: str
    engine: str
    releases: tuple[str, ...]
    follows: Shares = HOST
    has_unlike_cores: bool = False
    cores: int | None = None


ENGINES = {
    "pi4": (
        Engine("tflite-cpu", "pi4", "tflite-ruy", ("2.0", "2.1")),
        Engine("armnn-cpu", "pi4", "armnn-neon", ("2.0", "2.1")),
    ),
    "rk3588": (
        Engine("tflite-cpu", "rk3588s", "tflite-ruy", ("2.1", "3.0"), HOST, True),
        Engine("armnn-gpu", "rk3588s", "armnn-opencl(Mali)", ("2.1", "3.0"), GPU, True),
        Engine("armnn-cpu", "rk3588s", "armnn-neon", ("2.1", "3.0"), HOST, True),
    ),
    "agx-xavier": (Engine("tflite-cpu", "agx_xavier", "tflite-ruy", ("2.1", "3.0"), cores=8),),
    "agx-orin": (Engine("tflite-cpu", "agx_orin", "tflite-ruy", ("2.1", "3.0")),),
}
"""Engines by device; the first release on the RK3588 is 2.1."""


def fit_engine(rows: Sequence[ProcessorRow], name: str, engine: Engine, fit: BoardFit) -> Floats:
    """Costs from MobileNet and ResNet-50, judged by EfficientNet-Lite0.

    Args:
        rows: of all boards.
        name: of the device.
        engine: which run-time.
        fit: of the board so far.

    Returns:
        Seconds per kernel, operation and byte, shape (3,).
    """
    mine = _of(rows, engine)
    fitted = [row for row in mine if not _is_lite(row)]
    held_out = [row for row in mine if _is_lite(row)]
    latency_s = np.array([row.latency_s for row in fitted])
    seconds = sized([_size(row) for row in fitted], latency_s)
    fit.runtimes[engine.runtime] = FoundRuntime(
        measured=f"latency and power at the plug of {len(fitted)} runs of MobileNet v1, v2 and "
        f"ResNet-50 in float32 under {engine.engine} (MLPerf Inference "
        f"{' and '.join(engine.releases)}, Krai)",
        assumed="clocks not stated, taken as the highest; each kernel's time follows the CPU "
        "clock, each operation's and byte's that of the unit that computes",
        network=scaling(seconds, (HOST, engine.follows, engine.follows), fit.top),
    )
    for row in (*fitted, *held_out):
        modelled = float(columns_of(_size(row)) @ seconds)
        seen = not _is_lite(row)
        label = f"{row.network.removesuffix('-non-quantized')} {row.release}"
        fit.points.append(
            Point(
                name,
                engine.runtime,
                label,
                "latency",
                row.latency_s,
                None if seen else modelled,
                modelled if seen else None,
            )
        )
    errors = [
        abs(relative(float(columns_of(_size(row)) @ seconds), row.latency_s))
        for row in held_out
        if row.network == JUDGED
    ]
    fit.bars.append(
        BarRow(
            "EfficientNet-Lite0 from MobileNet and ResNet-50: latency, mean over releases",
            len(fitted),
            len(errors),
            float(np.mean(errors)),
            LITE_BAR,
            board=name,
            runtime=engine.runtime,
            reason=_reason(mine, engine),
        )
    )
    return seconds


def fit_wall_share(rows: Sequence[ProcessorRow], engine: Engine, computing_w: float) -> float:
    """Power at the plug per watt at the input, from what the board draws while it computes.

    Args:
        rows: of all boards.
        engine: whose networks keep the processor as busy as where the input was read.
        computing_w: power at the input meanwhile.
    """
    read_w = [row.wall_w for row in _of(rows, engine) if row.wall_w > 0.0 and not _is_lite(row)]
    return float(np.mean(read_w)) / computing_w


def fit_activity(
    rows: Sequence[ProcessorRow],
    name: str,
    engine: Engine,
    fit: BoardFit,
    seconds: Floats,
    power: PowerModel,
) -> None:
    """Activity of networks, judged by the power of EfficientNet-Lite0 at its predicted latency.

    Args:
        rows: of all boards.
        name: of the device.
        engine: which run-time.
        fit: of the board so far; its loss of the supply is known.
        seconds: what `fit_engine` found.
        power: of the board.
    """
    if engine.cores is not None:
        found = fit.runtimes[engine.runtime]
        found.activity = Activity(float(engine.cores), 0.0, HALF_S, on_cpu=True)
        found.measured = found.measured.replace("latency and power at the plug", "latency")
        found.assumed += f"; power was not read: {engine.cores} busy cores"
        fit.validated_on.append(
            f"latency of EfficientNet-Lite0 under {engine.runtime}, predicted from MobileNet and "
            f"ResNet-50: off by {fit.bars[-1].error:.0%}"
        )
        return
    mine = [row for row in _of(rows, engine) if row.wall_w > 0.0]
    on_cpu = engine.follows is HOST
    idle_w, unit_w = _idle_and_unit_w(power, fit.top, on_cpu=on_cpu)
    share, offset_w = fit.power.get("wall_share", 1.0), fit.power.get("wall_w", 0.0)

    rest_w, unit_w = offset_w + share * idle_w, share * unit_w
    activity = _activity([row for row in mine if not _is_lite(row)], rest_w, unit_w, on_cpu)
    fit.runtimes[engine.runtime].activity = activity
    errors = []
    for row in mine:
        seen = not _is_lite(row)
        latency_s = row.latency_s if seen else float(columns_of(_size(row)) @ seconds)
        watts = rest_w + activity.factor(latency_s) * unit_w
        label = f"{row.network.removesuffix('-non-quantized')} {row.release}"
        fit.points.append(
            Point(
                name,
                engine.runtime,
                label,
                "power",
                row.wall_w,
                None if seen else watts,
                watts if seen else None,
            )
        )
        if row.network == JUDGED:
            errors.append(abs(relative(watts, row.wall_w)))
    fit.bars.append(
        BarRow(
            "EfficientNet-Lite0 from MobileNet and ResNet-50: power, mean over releases",
            sum(not _is_lite(row) for row in mine),
            len(errors),
            float(np.mean(errors)),
            LITE_BAR,
            board=name,
            runtime=engine.runtime,
            reason=_reason(mine, engine),
        )
    )
    latency = fit.bars[-2].error
    fit.validated_on.append(
        f"EfficientNet-Lite0 under {engine.runtime}, predicted from MobileNet and ResNet-50: "
        f"latency off by {latency:.0%}, power by {fit.bars[-1].error:.0%}"
    )


def _activity(rows: Sequence[ProcessorRow], rest_w: float, unit_w: float, on_cpu: bool) -> Activity:
    """Least squares of relative errors, at the plug: all but the busy unit, and that unit."""
    columns = [
        np.array([1.0, row.latency_s / (row.latency_s + HALF_S)]) * unit_w / row.wall_w
        for row in rows
    ]
    target = [1.0 - rest_w / row.wall_w for row in rows]
    found, _ = nnls(np.array(columns), np.array(target))
    return Activity(float(found[0]), float(found[1]), HALF_S, on_cpu=on_cpu)


def add_onnxruntime(rows: Sequence[ProcessorRow], fit: BoardFit) -> None:
    """ONNX Runtime on the AGX Orin's processors: a factor by the one network that was measured.

    Args:
        rows: of all boards.
        fit: of the AGX Orin so far, with its run-time tflite-cpu.
    """
    mine = {
        row.engine: row.latency_s
        for row in rows
        if (row.board, row.release, row.network) == ("agx_orin", "3.0", "resnet50")
    }
    factor = mine["onnxruntime-cpu (cTuning)"] / mine["tflite-ruy"]
    fit.runtimes["onnxruntime-cpu"] = FoundRuntime(
        measured="latency of ResNet-50 over that under tflite-ruy, one network (MLPerf Inference "
        "3.0, cTuning and Krai)",
        assumed="the same factor for every network and at all clocks",
        factor=factor,
        of="tflite-cpu",
        activity=fit.runtimes["tflite-cpu"].activity,
    )


def _reason(rows: Sequence[ProcessorRow], engine: Engine) -> str:
    """Why a bar may be missed: what was measured differs from itself."""
    if not engine.has_unlike_cores:
        return ""
    first, second = (
        {row.network: row for row in rows if row.release == release and not _is_lite(row)}
        for release in engine.releases
    )
    both = [name for name in first if name in second]
    times = [abs(np.log(second[name].latency_s / first[name].latency_s)) for name in both]
    watts = [abs(np.log(second[name].wall_w / first[name].wall_w)) for name in both]
    return (
        "the networks that it is predicted from differ between both releases by up to "
        f"{np.expm1(max(times)):.0%} in time and {np.expm1(max(watts)):.0%} in power "
        f"(means {np.mean(times):.0%} and {np.mean(watts):.0%}): which cores ran at which clocks "
        "is not stated"
    )


def _idle_and_unit_w(power: PowerModel, top: ClocksHz, *, on_cpu: bool) -> tuple[float, float]:
    """At the input at the highest clocks: all but the unit that computes, and that unit, busy."""
    clocks_hz = (top.cpu, top.gpu, top.emc)
    util = {"cpu_util": ALONE * on_cpu, "gpu_util": ALONE * (not on_cpu)}
    without, with_it = (
        float(
            power.at_activity(factor, on_cpu=on_cpu).total_w(
                *clocks_hz, **util, traffic_bytes_per_s=0.0
            )
        )
        for factor in (0.0, 1.0)
    )
    return without, with_it - without


def _of(rows: Sequence[ProcessorRow], engine: Engine) -> list[ProcessorRow]:
    return [
        row
        for row in rows
        if (row.board, row.engine) == (engine.board, engine.engine)
        and row.release in engine.releases
        and size_of(row.network) is not None
    ]


def _size(row: ProcessorRow) -> NetworkSize:
    size = size_of(row.network)
    assert size is not None
    return size


def _is_lite(row: ProcessorRow) -> bool:
    return row.network.startswith("efficientnet")
