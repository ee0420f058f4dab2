"""Device models of boards: what others published about them, and what was fitted."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from msgspec import structs
from scipy.optimize import nnls

from common.regular_file import read_text
from hw.calibrate.tx2 import DELAYS_S, JETSON_GOVERNORS, JETSON_GOVERNORS_FROM
from hw.device.file import DEVICES
from hw.device.latency import Demand, NetworkScaling
from hw.device.model import DeviceModel
from hw.device.power import PowerModel
from hw.device.units import Floats
from hw.device.written import rounded, written
from hw.errors import DeviceFileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLE = Path(__file__).with_name("boards.toml")
GHZ = 1e9
KNEES = 12
SLOPES = np.linspace(0.0, 2.0 / GHZ, 201)
HEADER = (
    "# Written by `python -m hw.calibrate.write_boards` from hw/calibrate/boards.toml; edit\n"
    "# that, not this. Nothing of this board was measured here: see validated_on, modelled and\n"
    "# [provenance].\n\n"
)
FITTED_HEADER = (
    "# Written by `python -m hw.calibrate --data DIR --out hw/devices`; edit hw/calibrate, not\n"
    "# this. Each run-time says what of it was measured; validated_on, modelled and [provenance]\n"
    "# say the rest.\n\n"
)
FITTED_POWER = (
    *("wall_w", "wall_share"),
    *("gpu_busy_w", "gpu_busy_w_per_hz", "gpu_voltage_knee_hz", "gpu_voltage_per_hz"),
)
"""Keys of the power model that may be fitted to measurements."""

Table = dict[str, Any]


def read_table() -> dict[str, Table]:
    """Published figures by board; one that is `like` another has what it lacks from there.

    Raises:
        DeviceFileError: the file that holds them is missing or damaged.
    """
    try:
        table: dict[str, Table] = tomllib.loads(read_text(TABLE))
        return {
            name: table.get(str(board.get("like")), {}) | board for name, board in table.items()
        }
    except (OSError, ValueError) as error:
        raise DeviceFileError(
            f"table {TABLE} cannot be read: {error}; install this version again"
        ) from error


@dataclass(frozen=True, slots=True)
class Fitted:
    """Parts of a device file that were fitted to measurements; empty where nothing was.

    Attributes:
        runtimes: by name.
        workloads: demands by name.
        power: keys of the power model.
        validated_on: sentences.
    """

    runtimes: Table = field(default_factory=dict)
    workloads: Table = field(default_factory=dict)
    power: Table = field(default_factory=dict)
    validated_on: tuple[str, ...] = ()

    @classmethod
    def shipped(cls, name: str, board: Table) -> Fitted:
        """What the shipped file of a board holds of it.

        Args:
            name: of the board.
            board: its part of the table; what stands there was not fitted.

        Raises:
            DeviceFileError: the file is missing or damaged.
        """
        path = DEVICES / f"{name}.toml"
        try:
            file = tomllib.loads(read_text(path))
            ours = board.get("workloads", {})
            fits_gpu = "saturated" not in board and "busy_gpu_of" not in board
            keys = FITTED_POWER if fits_gpu else FITTED_POWER[:2]
            is_fitted = "runtimes" in file
            return cls(
                runtimes=file.get("runtimes", {}),
                workloads={k: v for k, v in file["workloads"].items() if k not in ours},
                power={k: v for k, v in file["power"].items() if is_fitted and k in keys},
                validated_on=tuple(file["validated_on"]),
            )
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise DeviceFileError(
                f"{path} cannot be read: {error}; write it by python -m hw.calibrate --data DIR "
                f"--out {path.parent}"
            ) from error


def device_toml(name: str, boards: dict[str, Table], tx2: DeviceModel, fitted: Fitted) -> str:
    """Write the device file of a board.

    Args:
        name: of the board.
        boards: `read_table`.
        tx2: the measured device whose networks are scaled.
        fitted: what was fitted to measurements.
    """
    board = boards[name]
    network = {} if fitted.runtimes else {"network": written(_network(board, tx2))}
    content = {
        "name": name,
        "title": board["title"],
        **({"gpu_tpcs": board["gpu_tpcs"]} if "gpu_tpcs" in board else {}),
        "validated_on": list(fitted.validated_on),
        "modelled": board["modelled"],
        "provenance": {"governors": JETSON_GOVERNORS_FROM, **board["provenance"]},
        "domains": {
            domain: {
                "available_hz": [round(mhz * 1e6) for mhz in board[f"{domain}_mhz"]],
                "actuation_delay_s": DELAYS_S[domain],
            }
            for domain in ("cpu", "gpu", "emc")
        },
        **network,
        "power": written(power_model(name, boards)) | fitted.power,
        "thermal": board["thermal"],
        "sensor": board["sensor"],
        "governors": board.get("governors", JETSON_GOVERNORS),
        "workloads": {
            workload: rounded(dataclasses.asdict(Demand(**{**_NO_DEMAND, **demand})))
            for workload, demand in board.get("workloads", {}).items()
        }
        | fitted.workloads,
        **({"runtimes": fitted.runtimes} if fitted.runtimes else {}),
        **_power_modes(board),
    }
    return (FITTED_HEADER if fitted.runtimes else HEADER) + tomli_w.dumps(content)


def _power_modes(board: Table) -> Table:
    """Power modes of a board, if it has any: rows of clusters, and CPU, GPU and memory MHz."""
    if "power_modes" not in board:
        return {}
    modes = {
        name: {
            "gpu_tpcs": tpcs,
            **{f"{kind}_hz": round(mhz * 1e6) for kind, mhz in zip(_KINDS, caps, strict=True)},
        }
        for name, (tpcs, *caps) in board["power_modes"].items()
    }
    return {"power_modes": modes}


_KINDS = ("cpu", "gpu", "emc")
_NO_DEMAND = {"fixed_s": 0.0, "cpu_cycles": 0.0, "gpu_cycles": 0.0, "emc_cycles": 0.0}


def power_model(name: str, boards: dict[str, Table]) -> PowerModel:
    """Power of a board, its busy GPU fitted to readings with a saturated GPU where there are any.

    Args:
        name: of the board.
        boards: `read_table`.
    """
    board = boards[name]
    gpu = _NO_GPU | {"gpu_busy_w": board["power"].get("gpu_busy_w", 0.0)}
    rest = PowerModel(**_rest(board["power"]), **gpu)
    if "busy_gpu_of" in board:
        like = power_model(board["busy_gpu_of"]["board"], boards)
        share = board["busy_gpu_of"]["share"]
        return structs.replace(
            rest,
            gpu_busy_w=share * like.gpu_busy_w,
            gpu_busy_w_per_hz=share * like.gpu_busy_w_per_hz,
            gpu_voltage_knee_hz=like.gpu_voltage_knee_hz,
            gpu_voltage_per_hz=like.gpu_voltage_per_hz,
        )
    if "saturated" not in board:
        return rest
    return structs.replace(rest, **_busy_gpu(rest, board))


_NO_GPU = {
    "gpu_busy_w": 0.0,
    "gpu_busy_w_per_hz": 0.0,
    "gpu_voltage_knee_hz": 1e12,
    "gpu_voltage_per_hz": 0.0,
}


def _rest(power: Table) -> dict[str, float]:
    """All of a power model but the busy GPU, in SI units."""
    return {
        "board_w": power["board_w"],
        "board_share": 1.0,
        "gpu_idle_w": power["gpu_idle_w"],
        "gpu_idle_w_per_hz3": power["gpu_idle_w_per_ghz3"] / GHZ**3,
        "gpu_idle_w_per_emc_hz": 0.0,
        "cpu_idle_w": power["cpu_idle_w"],
        "cpu_idle_w_per_hz3": power["cpu_idle_w_per_ghz3"] / GHZ**3,
        "cpu_idle_w_per_emc_hz": 0.0,
        "cpu_busy_w_per_hz3": power["cpu_busy_w_per_ghz3"] / GHZ**3,
        "soc_idle_w": power["soc_idle_w"],
        "soc_w_per_emc_hz": power["soc_w_per_emc_ghz"] / GHZ,
        "soc_j_per_byte": power["soc_nj_per_byte"] * 1e-9,
        "ddr_idle_w": power["ddr_idle_w"],
        "ddr_w_per_emc_hz": power["ddr_w_per_emc_ghz"] / GHZ,
        "ddr_j_per_byte": power["ddr_nj_per_byte"] * 1e-9,
        "peak_traffic_bytes_per_s": power["peak_traffic_gb_per_s"] * 1e9,
    }


def _busy_gpu(rest: PowerModel, board: Table) -> dict[str, float]:
    """Fit the busy GPU to what is left of the readings once everything else is taken off.

    The form is `PowerModel`'s; knee and slope of the voltage are searched on a grid.
    """
    saturated = board["saturated"]
    gpu_hz, emc_hz, read_w = np.array(saturated["rows"]).T * np.array([[1e6], [1e6], [1.0]])
    share = gpu_hz / gpu_hz[-1]
    rails = rest.rails_w(
        board["cpu_mhz"][-1] * 1e6,
        gpu_hz,
        emc_hz,
        cpu_util=saturated.get("cpu_util", 0.0),
        gpu_util=1.0,  # the rest's busy GPU draws nothing
        traffic_bytes_per_s=share * saturated.get("traffic_gb_per_s", 0.0) * 1e9,
    )
    gpu_w = read_w - quantity(rails, saturated["rail"])
    best: tuple[float, dict[str, float]] = (np.inf, {})
    for knee_hz in np.linspace(gpu_hz[0], gpu_hz[-1], KNEES, endpoint=False):
        for slope in SLOPES:
            volt = 1.0 + slope * np.maximum(gpu_hz - knee_hz, 0.0)
            columns = np.stack([volt, gpu_hz / GHZ * volt**2], axis=1) / gpu_w[:, None]
            found, error = nnls(columns, np.ones(len(gpu_w)))
            if error < best[0]:
                fitted = {
                    "gpu_busy_w": float(found[0]),
                    "gpu_busy_w_per_hz": float(found[1]) / GHZ,
                    "gpu_voltage_knee_hz": float(knee_hz),
                    "gpu_voltage_per_hz": float(slope),
                }
                best = (error, fitted)
    return best[1]


def quantity(rails: Any, name: str) -> Floats:
    """A rail, or the sum of two ("gpu_soc_w", "gpu_cpu_w")."""
    sums = {"gpu_soc_w": rails.gpu_w + rails.soc_w, "gpu_cpu_w": rails.gpu_w + rails.cpu_w}
    return np.asarray(sums[name] if name in sums else getattr(rails, name))


def _network(board: Table, tx2: DeviceModel) -> NetworkScaling:
    """The TX2's scaling with other core counts and bytes per cycle, and what is known better."""
    scale, network = board["scale"], tx2.network
    scaled = NetworkScaling(
        fixed_s_per_kernel=network.fixed_s_per_kernel,
        cpu_cycles_per_kernel=scale["cpu_cycles"] * network.cpu_cycles_per_kernel,
        cpu_cycles_per_flop=scale["cpu_cycles"] * network.cpu_cycles_per_flop,
        gpu_cycles_per_kernel=scale["gpu_cycles"] * network.gpu_cycles_per_kernel,
        gpu_cycles_per_flop=scale["gpu_cycles"] * network.gpu_cycles_per_flop,
        emc_cycles_per_kernel=scale["emc_cycles"] * network.emc_cycles_per_kernel,
        emc_cycles_per_byte=scale["emc_cycles"] * network.emc_cycles_per_byte,
    )
    return structs.replace(scaled, **board.get("network", {}))
