"""Total power of a board: which rails add up to it.

Rails are told apart by their labels; the table says for each kind of board which of them contain
the others. Sources: NVIDIA's developer guides for the Jetson modules, the kernel's powercap
documentation; "unverified" where only second-hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hw.sensors.energy_meter import POLLED


@dataclass(frozen=True, slots=True)
class Total:
    """What a board draws.

    Attributes:
        rails: names of the rails to add; none if nothing is measured.
        statement: what their sum is, for people.
        may_be_zero: whether it may be nothing while the machine runs.
        is_closed: whether no rail but those belongs to it, whatever else there is.
    """

    rails: tuple[str, ...]
    statement: str
    may_be_zero: bool = False
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class _Rule:
    """Applies where all of `needs` match a rail; adds the rails that `adds` accepts.

    It is closed where those are all that it needs.
    """

    needs: tuple[str, ...]
    adds: Callable[[str], bool]
    statement: str
    is_closed: bool = True


def _among(*names: str) -> Callable[[str], bool]:
    return lambda rail: rail in names


_PACKAGE = r"package-\d+(-die-\d+)?"
"""A processor, or each of its dies where they count by themselves."""


def _rapl(rail: str) -> bool:
    """A package or die with what is in it, or its memory, which is not."""
    return re.fullmatch(rf"{_PACKAGE}(\.dram)?", rail) is not None


_ORIN = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
_XAVIER = ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")
_RULES = (
    _Rule(("VDD_IN",), _among("VDD_IN"), "input of the module"),
    _Rule(("POM_5V_IN",), _among("POM_5V_IN"), "input of the module"),
    _Rule(
        _ORIN,
        _among(*_ORIN),
        "sum of three rails, for none is at the input; VDDQ_VDD2_1V8AO is taken as fed from "
        "VIN_SYS_5V0 (unverified)",
    ),
    _Rule(
        ("ina238.power1", "VDD_GPU", "VIN_SYS_5V0"),
        _among("ina238.power1"),
        "input of the carrier board, as jetson-stats takes it too (unverified)",
    ),
    # What jetson-stats calls the same.
    _Rule(("VIN", "VDD_GPU"), _among("VIN"), "input of the carrier board (unverified)"),
    _Rule(_XAVIER, _among(*_XAVIER), "sum of six rails, for none is at the input (unverified)"),
    _Rule(
        ("PMIC_input_estimate",),
        _among("PMIC_input_estimate"),
        "input estimated from twelve converters (modelled)",
    ),
    _Rule(("psys",), _among("psys"), "platform domain of the processor's counters"),
    _Rule(
        (_PACKAGE,),
        lambda rail: _rapl(rail) or rail.startswith("nvidia"),
        "processor packages, memory that they count, and NVIDIA cards; no board, disk or fan",
        is_closed=False,
    ),
)


def total_of(rails: Iterable[str]) -> Total:
    """Choose the rails that together are what the board draws."""
    names = [rail for rail in rails if not rail.endswith(POLLED)]
    for rule in _RULES:
        if all(any(re.fullmatch(needed, n) for n in names) for needed in rule.needs):
            rails = _chosen(names, rule.adds)
            return Total(rails, rule.statement, is_closed=rule.is_closed)
    batteries = _chosen(names, lambda rail: rail.startswith("battery."))
    others = _chosen(names, lambda rail: not rail.startswith("battery."))
    if not others and batteries:
        return Total(
            batteries, "battery; zero while it is charged", may_be_zero=True, is_closed=True
        )
    if len(others) == 1:
        return Total(others, "the one rail that is measured")
    return Total(others, "sum of all rails; some may contain others" if others else "nothing")


def _chosen(names: Sequence[str], adds: Callable[[str], bool]) -> tuple[str, ...]:
    return tuple(name for name in names if adds(name))
