"""Power without a monitor chip: RAPL counters, the Raspberry Pi 5's PMIC and batteries."""

from __future__ import annotations

from collections.abc import Mapping

from tests.hw.fake.attribute import Computed
from tests.hw.fake.kernel import FakeKernel

POWERCAP = "sys/devices/virtual/powercap/intel-rapl"
POWERCAP_CLASS = "sys/class/powercap"
MAX_ENERGY_RANGE_UJ = 262_143_328_850
_ENERGY_STEP_UJ = 61  # 2^-14 J


class RaplZone:
    """A counter of energy that advances with the kernel's time and wraps.

    Args:
        kernel: gets the attributes, and this as device "rapl <name>".
        zone: its place: "intel-rapl:0" or "intel-rapl:0:1".
        name: "package-0", "core", "dram", "psys".
        watts: at first.
        max_energy_range_uj: highest value before 0.
    """

    def __init__(
        self,
        kernel: FakeKernel,
        zone: str,
        name: str,
        watts: float,
        *,
        max_energy_range_uj: int = MAX_ENERGY_RANGE_UJ,
    ) -> None:
        self.max_energy_range_uj = max_energy_range_uj
        self._kernel = kernel
        self._watts = watts
        self._energy_uj = 0.0
        self._since_s = kernel.now_s
        kernel.devices[f"rapl {name}"] = self
        parent, _, child = zone.rpartition(":")
        is_subzone = parent.count(":") == 1
        folder = f"{POWERCAP}/{parent}/{zone}" if is_subzone else f"{POWERCAP}/{zone}"
        assert child.isdigit()
        kernel.add(
            {
                "name": name,
                "energy_uj": Computed(self.energy_uj),
                "max_energy_range_uj": Computed(lambda: self.max_energy_range_uj),
            },
            folder,
        )
        # Subzones lie beside their parents in the class.
        kernel.link(f"{POWERCAP_CLASS}/{zone}", folder)

    @property
    def watts(self) -> float:
        """Present power, W."""
        return self._watts

    @watts.setter
    def watts(self, watts: float) -> None:
        self._advance()
        self._watts = watts

    def energy_uj(self) -> int:
        """The counter now."""
        self._advance()
        counted_uj = int(self._energy_uj) // _ENERGY_STEP_UJ * _ENERGY_STEP_UJ
        return counted_uj % (self.max_energy_range_uj + 1)

    def start_at_uj(self, energy_uj: int) -> None:
        """Set the counter, to bring it near its end."""
        self._advance()
        self._energy_uj = float(energy_uj)

    def _advance(self) -> None:
        self._energy_uj += self._watts * 1e6 * (self._kernel.now_s - self._since_s)
        self._since_s = self._kernel.now_s


def add_rapl(kernel: FakeKernel, package_w: float, parts_w: Mapping[str, float]) -> None:
    """A package with its parts; "psys" becomes a zone of its own."""
    kernel.link(f"{POWERCAP_CLASS}/intel-rapl", POWERCAP)
    RaplZone(kernel, "intel-rapl:0", "package-0", package_w)
    parts = [name for name in parts_w if name != "psys"]
    for number, name in enumerate(parts):
        RaplZone(kernel, f"intel-rapl:0:{number}", name, parts_w[name])
    if "psys" in parts_w:
        RaplZone(kernel, "intel-rapl:1", "psys", parts_w["psys"])


class Pmic:
    """The Raspberry Pi 5's converter chip, read by `vcgencmd pmic_read_adc`.

    Attributes:
        rails: name -> [V, A] of the twelve measured rails.
        input_v: of the 5 V input, whose current is not measured.
    """

    def __init__(self, kernel: FakeKernel) -> None:
        self.rails = {
            "3V7_WL_SW": [3.704, 0.0917],
            "3V3_SYS": [3.312, 0.0937],
            "1V8_SYS": [1.797, 0.1561],
            "DDR_VDD2": [1.110, 0.0156],
            "DDR_VDDQ": [0.606, 0.0],
            "1V1_SYS": [1.105, 0.1844],
            "0V8_SW": [0.803, 0.3395],
            "VDD_CORE": [0.721, 1.229],
            "3V3_DAC": [3.311, 0.0002],
            "3V3_ADC": [3.308, 0.0004],
            "0V8_AON": [0.799, 0.0043],
            "HDMI": [5.128, 0.0112],
        }
        self.input_v = 5.151
        kernel.devices["pmic"] = self
        kernel.commands["vcgencmd pmic_read_adc"] = self.show

    def sum_w(self) -> float:
        """Power of the measured rails, W."""
        return sum(volts * amperes for volts, amperes in self.rails.values())

    def show(self) -> str:
        """The command's output: all currents, then all voltages, aligned to the right."""
        lines = [
            f"{name + '_A':>14} current({number})={amperes:.8f}A"
            for number, (name, (_, amperes)) in enumerate(self.rails.items())
        ]
        first = len(lines)
        volts = [(name, volts) for name, (volts, _) in self.rails.items()]
        volts += [("EXT5V", self.input_v), ("BATT", 0.0)]
        lines += [
            f"{name + '_V':>14} volt({first + number})={value:.8f}V"
            for number, (name, value) in enumerate(volts)
        ]
        return "\n".join(lines) + "\n"


class Battery:
    """A laptop's battery; drivers differ in whether they report current or power, and in sign.

    Attributes:
        volts, watts: settable; watts are positive while discharging.
        status: "Discharging", "Charging", "Full", "Not charging" or "Unknown".
        discharge_sign: -1 where the driver reports discharging as negative.
    """

    def __init__(self, kernel: FakeKernel, *, reports: str = "power") -> None:
        self.volts = 11.4
        self.watts = 8.0
        self.status = "Discharging"
        self.discharge_sign = 1
        kernel.devices["battery"] = self
        folder = "sys/devices/LNXSYSTM:00/LNXSYBUS:00/PNP0C0A:00/power_supply/BAT0"
        rates = {
            "power": {"power_now": Computed(lambda: self._signed(self.watts))},
            "current": {"current_now": Computed(lambda: self._signed(self.watts / self.volts))},
        }
        kernel.add(
            {
                "type": "Battery",
                "present": 1,
                "status": Computed(lambda: self.status),
                "capacity": 80,
                "voltage_now": Computed(lambda: round(self.volts * 1e6)),
                **rates[reports],
            },
            folder,
        )
        kernel.link("sys/class/power_supply/BAT0", folder)
        kernel.add(
            {"type": "Mains", "online": Computed(lambda: int(self.status != "Discharging"))},
            "sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0003:00/power_supply/AC",
        )
        kernel.link(
            "sys/class/power_supply/AC",
            "sys/devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0003:00/power_supply/AC",
        )

    def _signed(self, value: float) -> int:
        return round(value * 1e6) * self.discharge_sign
