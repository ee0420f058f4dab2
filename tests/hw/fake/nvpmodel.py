"""NVIDIA's power modes and jetson_clocks: the rivals that every Jetson ships with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.hw.fake.attribute import Text
from tests.hw.fake.cpufreq import CpufreqPolicy
from tests.hw.fake.cpus import CPU
from tests.hw.fake.devfreq import DevfreqDevice
from tests.hw.fake.emc import BPMP, OVERRIDE
from tests.hw.fake.kernel import FakeKernel

CONF = "etc/nvpmodel.conf"
STATUS = "var/lib/nvpmodel/status"
NO_CAP = -1
_OLD_GPU = "sys/devices/17000000.ga10b/devfreq/17000000.ga10b"
_OLD_CAP = "sys/kernel/nvpmodel_emc_cap/emc_iso_cap"


@dataclass(frozen=True)
class PowerMode:
    """One POWER_MODEL.

    Attributes:
        name: as `nvpmodel -q` prints it.
        n_cpus: CPUs left online, the first ones; all if None.
        cpu_max_khz, gpu_max_hz, emc_max_hz: caps; -1 = none.
    """

    name: str
    n_cpus: int | None = None
    cpu_max_khz: int = NO_CAP
    gpu_max_hz: int = NO_CAP
    emc_max_hz: int = NO_CAP


@dataclass
class Nvpmodel:
    """The tool with its configuration and status file.

    Attributes:
        modes: by id; 0 is not always the fastest.
        mode: present id.
        serves_two_kernels: the configuration has a second path for each file, `..._KNEXT`, which is
            the one that exists; and lets the GPU be gated again, as JetPack 5 and 6 do.
    """

    kernel: FakeKernel
    policies: Sequence[CpufreqPolicy]
    gpu: DevfreqDevice
    emc_cap: str
    modes: Mapping[int, PowerMode]
    mode: int
    serves_two_kernels: bool = False
    _status: Text = field(default_factory=lambda: Text(""), init=False)

    def __post_init__(self) -> None:
        self.kernel.devices["nvpmodel"] = self
        self.kernel.add({CONF: self.show_conf(), STATUS: self._status})
        self.kernel.commands["nvpmodel -q"] = self._query
        self._show_mode()

    def switch_power_mode(self, mode: int) -> None:
        """What `nvpmodel -m` does: online CPUs, then min and max of CPUs and GPU, then memory.

        Written past the log of writes, which is the log of the code under test.
        """
        chosen = self.modes[mode]
        n_cpus = chosen.n_cpus or sum(len(policy.cpus) for policy in self.policies)
        for path in self.kernel.glob(f"{CPU}/cpu*/online"):
            number = int(path.split("/")[-2].removeprefix("cpu"))
            self._write(path, int(number < n_cpus))
        for policy in (policy for policy in self.policies if policy.online):
            table = policy.table_khz or (policy.cpuinfo_min_khz, policy.cpuinfo_max_khz)
            high = _at_most(table, chosen.cpu_max_khz)
            self._set_limits(f"{policy.folder}/scaling_%s_freq", table[0], high)
        table = self.gpu.table_hz
        high = _at_most(table, chosen.gpu_max_hz)
        self._set_limits(f"{self.gpu.folder}/%s_freq", table[0], high)
        self._write(self.emc_cap, max(chosen.emc_max_hz, 0))
        gate = f"{self.gpu.device}/power/control"
        if self.serves_two_kernels and self.kernel.exists(gate):
            self.kernel.attribute(gate).write("auto")
        self.mode = mode
        self.kernel.remove(STATUS)
        self.kernel.add({STATUS: self._status})
        self._show_mode()

    def lose_status(self, *, is_empty: bool = False) -> None:
        """What is seen while the file is written anew (empty), or after it was removed."""
        self.kernel.remove(STATUS)
        if is_empty:
            self.kernel.add({STATUS: ""})

    def jetson_clocks(self) -> None:
        """Pin everything to its present maximum, memory included, until the next boot."""
        for policy in (policy for policy in self.policies if policy.online):
            self._write(f"{policy.folder}/scaling_min_freq", policy.limits_khz()[1])
        self._write(f"{self.gpu.folder}/min_freq", self.gpu.limits_hz()[1])
        railgate = f"{self.gpu.device}/railgate_enable"
        if self.kernel.exists(railgate):
            self._write(railgate, 0)
        emc = self.kernel.devices["emc"]
        if self.kernel.exists(OVERRIDE):
            self._write(f"{OVERRIDE}/clk_update_rate", emc.table_hz[-1])
            self._write(f"{OVERRIDE}/clk_state", 1)
        elif self.kernel.exists(f"{BPMP}/clk/emc"):
            # The script's order: the rate, then the lock.
            self._write(f"{BPMP}/clk/emc/rate", emc.ceiling_hz())
            self._write(f"{BPMP}/clk/emc/mrq_rate_locked", 1)

    def show_conf(self) -> str:
        """The configuration; attributes come in either order, as they do in NVIDIA's files."""
        lines = ["# FORMAT: see NVIDIA's header", "< PARAM TYPE=FILE NAME=CPU_ONLINE >"]
        cpus = sorted(cpu for policy in self.policies for cpu in policy.cpus)
        lines += [f"CORE_{cpu} /{CPU}/cpu{cpu}/online" for cpu in cpus]
        for policy in self.policies:
            lines += [
                f"\n< PARAM TYPE=FILE NAME={_param(policy)} >",
                f"FREQ_TABLE /{policy.folder}/scaling_available_frequencies",
                f"MAX_FREQ /{policy.folder}/scaling_max_freq",
                f"MIN_FREQ /{policy.folder}/scaling_min_freq",
            ]
        lines += ["\n< PARAM NAME=GPU TYPE=FILE >", *self._gpu_files()]
        lines += ["\n< PARAM TYPE=FILE NAME=EMC >", *self._two("MAX_FREQ", _OLD_CAP, self.emc_cap)]
        if self.serves_two_kernels:
            lines += [
                "\n< PARAM TYPE=FILE NAME=GPU_POWER_CONTROL_DISABLE >",
                f"GPU_PWR_CNTL_DIS /{self.gpu.device}/power/control",
            ]
        for number, mode in self.modes.items():
            head = f"ID={number} NAME={mode.name}" if number % 2 == 0 else None
            lines.append(f"\n< POWER_MODEL {head or f'NAME={mode.name} ID={number}'} >")
            n_cpus = mode.n_cpus or len(cpus)
            lines += [f"CPU_ONLINE CORE_{cpu} {int(cpu < n_cpus)}" for cpu in cpus]
            for policy in self.policies:
                lines += [
                    f"{_param(policy)} MIN_FREQ 0",
                    f"{_param(policy)} MAX_FREQ {mode.cpu_max_khz}",
                ]
            lines += ["GPU MIN_FREQ 0", f"GPU MAX_FREQ {mode.gpu_max_hz}"]
            lines.append(f"EMC MAX_FREQ {max(mode.emc_max_hz, 0)}")
            if self.serves_two_kernels:
                lines.append("GPU_POWER_CONTROL_DISABLE GPU_PWR_CNTL_DIS auto")
        lines.append(f"\n< PM_CONFIG DEFAULT={self.mode} >")
        return "\n".join(lines)

    def _gpu_files(self) -> list[str]:
        files = {"FREQ_TABLE": "available_frequencies", "MAX_FREQ": "max_freq"}
        files["MIN_FREQ"] = "min_freq"
        folder = f"{self.gpu.device}/devfreq_dev" if self.serves_two_kernels else self.gpu.folder
        return [
            line
            for name, file in files.items()
            for line in self._two(name, f"{_OLD_GPU}/{file}", f"{folder}/{file}")
        ]

    def _two(self, name: str, old: str, new: str) -> list[str]:
        """One path, or one for each of two kernels of which this is the second."""
        if not self.serves_two_kernels:
            return [f"{name} /{new}"]
        return [f"{name} /{old}", f"{name}_KNEXT /{new}"]

    def _set_limits(self, files: str, low: int, high: int) -> None:
        """Lower the minimum first, so that old kernels take any maximum."""
        self._write(files % "min", low)
        self._write(files % "max", high)

    def _write(self, path: str, value: int) -> None:
        attribute = self.kernel.attribute(path)
        attribute.write(str(value))

    def _query(self) -> str:
        return f"NV Power Mode: {self.modes[self.mode].name}\n{self.mode}\n"

    def _show_mode(self) -> None:
        self._status.value = f"pmode:{self.mode:04d} fmode:fanNull"


def _param(policy: CpufreqPolicy) -> str:
    return f"CPU_{policy.cpus[0]}"


def _at_most(table: Sequence[int], cap: int) -> int:
    """A cap off the table is rounded down silently; -1 is none."""
    return table[-1] if cap == NO_CAP else max([p for p in table if p <= cap], default=table[0])
