"""Device model: latency, power and heat at given clocks, as a pure function.

Everything here works elementwise on floats or arrays that broadcast (thousands of boards at
once, or one axis per clock for an exhaustive search) and keeps no state.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, field, structs

from common.schema import NonNegative, Positive, Table, Text, convert, read_toml
from hw.device.file import device_path, split_mode, split_runtime
from hw.device.fingerprint import fingerprint
from hw.device.governors import Governors
from hw.device.latency import Demand, HostScaling, NetworkScaling
from hw.device.power import PowerModel, RailPower
from hw.device.power_mode import PowerMode, gated_demand, gated_network, gated_power
from hw.device.runtime import UNNAMED, Runtime, RuntimeTable, resolve
from hw.device.thermal import ThermalModel
from hw.device.units import Floats, Values
from hw.errors import DeviceFileError

__all__ = ["DOMAINS", "Demand", "DeviceModel", "DomainModel", "RailPower", "SensorModel"]

DOMAINS = ("cpu", "gpu", "emc")
"""Order of a device model's clocks, whether or not they can be set."""


@dataclass(frozen=True, slots=True)
class DomainModel:
    """One clock of a device.

    Attributes:
        name: "cpu", "gpu" or "emc".
        available_hz: ascending operating points that can be controlled and were validated, Hz.
        actuation_delay_s: time until a new clock takes effect, s.
    """

    name: str
    available_hz: tuple[int, ...]
    actuation_delay_s: float


class SensorModel(Table, frozen=True):
    """An INA3221 power monitor at the board's input.

    Attributes:
        shunt_ohm: shunt resistor, ohm.
        shunt_step_v: smallest shunt voltage it resolves, V.
        supply_v: voltage of the rail, V.
        period_s: time between two new readings, s.
    """

    shunt_ohm: Positive
    shunt_step_v: Positive
    supply_v: Positive
    period_s: Positive

    @property
    def step_w(self) -> float:
        """Smallest difference of power it can show, W."""
        return self.shunt_step_v / self.shunt_ohm * self.supply_v


class Replay(Table, frozen=True):
    """A measured table that the board `replay` answers from.

    Attributes:
        data: folder with the measured data.
        network: that was measured.
    """

    data: Text
    network: Text


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """A device as fitted to measurements; read it with `load`.

    Attributes:
        name: short name, as in `--device`.
        title: name in full.
        domains: "cpu", "gpu" and "emc".
        runtime: what computes networks, one of `runtimes`.
        runtimes: all that are known, by name; the first is taken where none is named.
        power: rail power.
        thermal: two-node heat model.
        sensor: power monitor.
        workloads: networks that were measured, by name.
        governors: of its kernel, which choose a clock below a cap.
        validated_on: what the model was compared with, as sentences.
        modelled: what was assumed or extrapolated, as sentences.
        replay: measured table that stands behind the board `replay`, if any.
        gpu_tpcs: texture processing clusters of the GPU that are on; None where that is not known.
        power_modes: by name; the tables of clocks are those of the largest.
        host: work beside the network; none where it was not measured.
    """

    name: str
    title: str
    domains: Mapping[str, DomainModel]
    runtime: str
    runtimes: Mapping[str, Runtime]
    power: PowerModel
    thermal: ThermalModel
    sensor: SensorModel
    workloads: Mapping[str, Demand]
    governors: Governors
    validated_on: tuple[str, ...]
    modelled: tuple[str, ...]
    replay: Replay | None = None
    gpu_tpcs: int | None = None
    power_modes: Mapping[str, PowerMode] = dataclasses.field(default_factory=dict)
    host: HostScaling = dataclasses.field(default_factory=HostScaling)

    @classmethod
    def load(cls, name_or_path: str | Path) -> DeviceModel:
        """Read a device model by name, or any `.toml` file; `+MODE` and `@RUNTIME` may follow.

        Raises:
            DeviceFileError: unknown name, mode or run-time, missing file, or anything in it that is
                not as it should be; the message names file, key, value and remedy.
        """
        device, runtime = split_runtime(name_or_path)
        device, mode = split_mode(device)
        path = device_path(device)
        file = read_toml(path, _File, "device file", DeviceFileError)
        try:
            runtimes = file.by_name()
            workloads = {
                name: convert(table, _Workload, f"workloads.{name}").demand
                for name, table in file.workloads.items()
            }
        except ValueError as error:
            raise DeviceFileError(f"{path}: {error}") from None
        model = cls(
            name=file.name,
            title=file.title,
            domains={
                name: domain.named(name) for name, domain in structs.asdict(file.domains).items()
            },
            runtime=_chosen(path, runtimes, runtime),
            runtimes=runtimes,
            power=file.power,
            thermal=file.thermal,
            sensor=file.sensor,
            workloads=workloads,
            governors=file.governors,
            validated_on=file.validated_on,
            modelled=file.modelled,
            replay=file.replay,
            gpu_tpcs=file.gpu_tpcs,
            power_modes=file.power_modes,
            host=file.host,
        )
        return model if mode is None else model.in_mode(mode)

    @property
    def network(self) -> NetworkScaling:
        """Scaling of networks that were not measured, on the chosen run-time."""
        return self.runtimes[self.runtime].network

    def in_mode(self, name: str) -> DeviceModel:
        """The device in a power mode: lower clocks, and less of its GPU.

        Raises:
            DeviceFileError: it has no such mode, or none of its clocks is that low.
        """
        if self.gpu_tpcs is None or name not in self.power_modes:
            modes = ", ".join(self.power_modes) or "none"
            raise DeviceFileError(f"{self.name} has no power mode {name!r}; it has {modes}")
        mode = self.power_modes[name]
        active = mode.gpu_tpcs / self.gpu_tpcs
        domains = {}
        for kind, domain in self.domains.items():
            points_hz = tuple(hz for hz in domain.available_hz if hz <= mode.cap_hz(kind))
            if not points_hz:
                raise DeviceFileError(
                    f"{self.name} has no {kind} clock as low as power mode {name!r} asks for, "
                    f"{mode.cap_hz(kind) / 1e6:.0f} MHz; correct the mode"
                )
            domains[kind] = replace(domain, available_hz=points_hz)
        return replace(
            self,
            domains=domains,
            runtimes={
                key: replace(it, network=gated_network(it.network, active))
                for key, it in self.runtimes.items()
            },
            workloads={key: gated_demand(it, active) for key, it in self.workloads.items()},
            power=gated_power(self.power, active),
            gpu_tpcs=mode.gpu_tpcs,
        )

    def running(self, whole: Demand) -> DeviceModel:
        """The device while it runs a network: its power has the network's activity.

        Args:
            whole: work of the whole network, scalars.
        """
        activity = self.runtimes[self.runtime].activity
        if activity is None:
            return self
        fastest = (float(self.cpu_hz[-1]), float(self.gpu_hz[-1]), float(self.emc_hz[-1]))
        factor = activity.factor(float(self.latency_s(whole, *fastest)))
        return replace(self, power=self.power.at_activity(factor, on_cpu=activity.on_cpu))

    @property
    def settable(self) -> tuple[str, ...]:
        """Names of the clocks that have more than one operating point."""
        return tuple(d.name for d in self.domains.values() if len(d.available_hz) > 1)

    @property
    def cpu_hz(self) -> Floats:
        """CPU operating points, shape (n,), Hz."""
        return np.array(self.domains["cpu"].available_hz, dtype=np.float64)

    @property
    def gpu_hz(self) -> Floats:
        """GPU operating points, shape (n,), Hz."""
        return np.array(self.domains["gpu"].available_hz, dtype=np.float64)

    @property
    def emc_hz(self) -> Floats:
        """Memory operating points, shape (n,), Hz."""
        return np.array(self.domains["emc"].available_hz, dtype=np.float64)

    @property
    def max_power_w(self) -> float:
        """Modelled power with all clocks at their maximum and every unit busy, W."""
        return float(
            self.power.total_w(
                self.domains["cpu"].available_hz[-1],
                self.domains["gpu"].available_hz[-1],
                self.domains["emc"].available_hz[-1],
                cpu_util=1.0,
                gpu_util=1.0,
                traffic_bytes_per_s=self.power.peak_traffic_bytes_per_s,
            )
        )

    @property
    def fingerprint(self) -> str:
        """Hash of the name and the operating points, 16 hexadecimal digits."""
        return fingerprint(self.name, {d.name: d.available_hz for d in self.domains.values()})

    @property
    def status_line(self) -> str:
        """One line that says how far results of this model can be trusted."""
        validated = "; ".join(self.validated_on) or "nothing"
        chosen = self.runtimes[self.runtime]
        return (
            f"{self.name} (modelled): validated on {validated}; not validated: "
            f"{'; '.join(self.modelled) or 'anything else'}; run-time {self.runtime}: measured: "
            f"{chosen.measured}; assumed: {chosen.assumed}"
        )

    def latency_s(self, demand: Demand, cpu_hz: Values, gpu_hz: Values, emc_hz: Values) -> Floats:
        """Modelled time for some work, s; the form is that of `Demand`."""
        cpu_s, gpu_s = demand.busy_s(cpu_hz, gpu_hz, emc_hz)
        return np.asarray(demand.fixed_s + cpu_s + gpu_s)

    def throttled_hz_cap(self, domain: str, temperature_c: Values) -> Floats:
        """Highest clock a domain may run at, Hz; between operating points, a board snaps down.

        The cap is a separate internal maximum: requests stay as they are and return when it cools.
        """
        points_hz = self.domains[domain].available_hz
        return self.thermal.cap_hz(points_hz[0], points_hz[-1], temperature_c)

    def quantise_w(self, power_w: Values) -> Floats:
        """Power as the board's sensor would show it, W."""
        return np.asarray(np.round(np.divide(power_w, self.sensor.step_w)) * self.sensor.step_w)

    def table_index(
        self, domain: str, hz: Values
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
        """Index of the operating point nearest to a clock."""
        points_hz = np.array(self.domains[domain].available_hz, dtype=np.float64)
        return np.searchsorted((points_hz[1:] + points_hz[:-1]) / 2, np.asarray(hz))


class _Domain(Table, frozen=True):
    available_hz: Annotated[tuple[Positive, ...], Meta(min_length=1)]
    actuation_delay_s: NonNegative

    def __post_init__(self) -> None:
        """Refuse clocks that are not in order."""
        numbers = self.available_hz
        if any(high <= low for low, high in pairwise(numbers)):
            raise ValueError(f"available_hz is {list(numbers)}; list numbers in ascending order")

    def named(self, name: str) -> DomainModel:
        points_hz = tuple(round(hz) for hz in self.available_hz)
        return DomainModel(name, points_hz, self.actuation_delay_s)


class _Domains(Table, frozen=True):
    cpu: _Domain
    gpu: _Domain
    emc: _Domain


class _Workload(Table, frozen=True):
    fixed_s: NonNegative
    cpu_cycles: NonNegative
    gpu_cycles: NonNegative
    emc_cycles: NonNegative
    overlap_norm: Annotated[float, Meta(ge=1.0, le=sys.float_info.max)]

    @property
    def demand(self) -> Demand:
        return Demand(**structs.asdict(self))


class _Provenance(Table, frozen=True):
    """Where the numbers of every section come from; for the reader."""

    domains: Text
    network: Text
    power: Text
    thermal: Text
    sensor: Text
    workloads: Text
    host: Text = "nothing beside the network was measured"
    governors: Text = "not said: the kernel's usual ones are assumed"


class _File(Table, frozen=True):
    """All of a device file."""

    name: Text
    title: Text
    domains: _Domains
    power: PowerModel
    thermal: ThermalModel
    sensor: SensorModel
    workloads: dict[str, Any]
    validated_on: tuple[str, ...]
    modelled: tuple[str, ...]
    provenance: _Provenance
    governors: Governors = Governors()
    network: NetworkScaling | None = None
    """Of a file that names no run-time."""
    runtimes: dict[str, RuntimeTable] = field(default_factory=dict)
    replay: Replay | None = None
    gpu_tpcs: Annotated[int, Meta(ge=1)] | None = None
    power_modes: dict[str, PowerMode] = field(default_factory=dict)
    host: HostScaling = HostScaling()

    def __post_init__(self) -> None:
        """Refuse a file with two answers, or none."""
        if self.network is None and not self.runtimes:
            raise ValueError("network is missing; add it, or runtimes")
        if self.network is not None and self.runtimes:
            raise ValueError("network stands beside runtimes; move it into one of them")
        for name, mode in self.power_modes.items():
            if self.gpu_tpcs is None or mode.gpu_tpcs > self.gpu_tpcs:
                raise ValueError(
                    f"power_modes.{name}.gpu_tpcs is {mode.gpu_tpcs}; give at most gpu_tpcs, those "
                    "of the whole GPU"
                )

    def by_name(self) -> dict[str, Runtime]:
        if self.network is None:
            return resolve(self.runtimes)
        return {UNNAMED: Runtime(self.network, self.provenance.network, "nothing else is known")}


def _chosen(path: Path, runtimes: Mapping[str, Runtime], name: str | None) -> str:
    """The run-time that was asked for, or the first.

    Raises:
        DeviceFileError: it is not there.
    """
    if name is None:
        return next(iter(runtimes))
    if name not in runtimes:
        raise DeviceFileError(
            f"{path.stem} has no run-time {name!r}; use one of {', '.join(runtimes)}, or add "
            f"[runtimes.{name}] to a copy of {path}"
        )
    return name
