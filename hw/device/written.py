"""Numbers and whole device models as device files hold them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from msgspec import structs

from common.schema import Table
from hw.device.model import DeviceModel
from hw.device.runtime import Runtime

SIGNIFICANT_DIGITS = 6
_OPTIONAL = ("host", "power_modes")


def written(table: Table) -> dict[str, float]:
    """A table of numbers as a file holds it: rounded, without those that are their defaults."""
    defaults = {field.encode_name: field.default for field in structs.fields(table)}
    values = structs.asdict(table)
    return rounded({name: value for name, value in values.items() if value != defaults[name]})


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Keep `SIGNIFICANT_DIGITS` of what is no truth value."""
    return {
        key: value if isinstance(value, bool) else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
        for key, value in values.items()
    }


def device_document(device: DeviceModel, provenance: Mapping[str, str]) -> dict[str, Any]:
    """A device model as the content of a device file, which `DeviceModel.load` reads again.

    Args:
        device: the model; the run-time that it has chosen is written first.
        provenance: where the numbers of each section come from, by section.
    """
    names = sorted(device.runtimes, key=lambda name: name != device.runtime)
    document: dict[str, Any] = {
        "name": device.name,
        "title": device.title,
        "validated_on": list(device.validated_on),
        "modelled": list(device.modelled),
    }
    if device.gpu_tpcs is not None:
        document["gpu_tpcs"] = device.gpu_tpcs
    document |= {
        "provenance": dict(provenance),
        "domains": {
            name: {
                "available_hz": list(domain.available_hz),
                **rounded({"actuation_delay_s": domain.actuation_delay_s}),
            }
            for name, domain in device.domains.items()
        },
        "power": written(device.power),
        "thermal": structs.asdict(device.thermal),
        "sensor": structs.asdict(device.sensor),
        "governors": structs.asdict(device.governors),
        "host": written(device.host),
        "power_modes": _modes(device),
        "runtimes": {name: _runtime(device.runtimes[name]) for name in names},
        "workloads": {
            name: rounded(dataclasses.asdict(demand)) for name, demand in device.workloads.items()
        },
    }
    if device.replay is not None:
        document["replay"] = structs.asdict(device.replay)
    return {key: part for key, part in document.items() if part or key not in _OPTIONAL}


def _modes(device: DeviceModel) -> dict[str, Any]:
    """Power modes that a device in one of them could still go to."""
    most = device.gpu_tpcs or 0
    modes = device.power_modes.items()
    return {name: structs.asdict(it) for name, it in modes if it.gpu_tpcs <= most}


def _runtime(runtime: Runtime) -> dict[str, Any]:
    table: dict[str, Any] = {
        "measured": runtime.measured,
        "assumed": runtime.assumed,
        # All of them: those of the scaling have no defaults.
        "network": rounded(structs.asdict(runtime.network)),
    }
    if runtime.activity is not None:
        table["activity"] = rounded(structs.asdict(runtime.activity))
    return table
