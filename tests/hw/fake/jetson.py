"""NVIDIA Jetson boards, each one a description; JetPack 4 to 6 differ in paths."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tests.hw.fake import tables
from tests.hw.fake.attribute import Computed, Stored, Text
from tests.hw.fake.cpufreq import CpufreqPolicy
from tests.hw.fake.cpus import Cpus
from tests.hw.fake.devfreq import DevfreqDevice
from tests.hw.fake.emc import CAP_JETPACK_5, CAP_JETPACK_6, BpmpEmc, Tegra210Emc
from tests.hw.fake.hwmon import Rail, add_chip, add_ina3221, add_ina3221_iio
from tests.hw.fake.kernel import FakeKernel
from tests.hw.fake.nvpmodel import NO_CAP, Nvpmodel, PowerMode
from tests.hw.fake.system import describe_device_tree, describe_machine
from tests.hw.fake.thermal import CoolingDevice, ThermalZone, cool_cpufreq, cool_devfreq

GPU_GOVERNORS = ("nvhost_podgov", "userspace", "performance", "simple_ondemand", "wmark_simple")


@dataclass(frozen=True)
class JetPack:
    """A software release: kernel, L4T version, path of nvpmodel's memory cap."""

    kernel: str
    l4t: str
    emc_cap: str


_TWO_KERNELS = 6  # from here on NVIDIA's nvpmodel.conf names files of two kernels

JETPACKS = {
    4: JetPack("4.9.337-tegra", "R32 (release), REVISION: 7.4", CAP_JETPACK_5),
    5: JetPack("5.10.192-tegra", "R35 (release), REVISION: 5.0", CAP_JETPACK_5),
    6: JetPack("5.15.148-tegra", "R36 (release), REVISION: 4.3", CAP_JETPACK_6),
}


@dataclass(frozen=True, kw_only=True)
class Jetson:
    """A board.

    Attributes:
        jetpacks: JetPack of the old and of the new kernel.
        clusters: CPUs of each cpufreq policy.
        gpu_folders: the GPU's device by JetPack.
        i2c: bus of the power monitors by JetPack: its controller and number.
        rails: name -> shunt in mOhm and typical V and W, by address of the monitor.
        has_set_freq: whether the GPU offers the userspace governor.
    """

    model: str
    compatible: tuple[str, ...]
    jetpacks: tuple[int, int]
    clusters: tuple[tuple[int, ...], ...]
    cpu_khz: tuple[int, ...]
    gpu_folders: Mapping[int, str]
    gpu_hz: tuple[int, ...]
    emc_hz: tuple[int, ...]
    i2c: Mapping[int, tuple[str, int]]
    rails: Mapping[str, Mapping[str, tuple[float, float, float]]]
    modes: Mapping[int, PowerMode]
    mode: int = 0
    has_set_freq: bool = True

    def build(self, generation: str) -> FakeKernel:
        """A kernel of that generation on this board."""
        kernel = FakeKernel(generation)
        jetpack = self.jetpacks[0 if kernel.is_old else 1]
        release = JETPACKS[jetpack]
        describe_machine(kernel, release.kernel)
        describe_device_tree(kernel, self.model, self.compatible)
        kernel.add({"etc/nv_tegra_release": f"# {release.l4t}, GCID: 0, BOARD: generic"})
        Cpus(kernel, sum(len(cluster) for cluster in self.clusters))
        policies = [
            CpufreqPolicy(kernel, cluster, self.cpu_khz, driver="tegra-cpufreq")
            for cluster in self.clusters
        ]
        gpu = self._add_gpu(kernel, jetpack)
        emc = Tegra210Emc if "nvidia,tegra210" in self.compatible else BpmpEmc
        emc(kernel, self.emc_hz, release.emc_cap)
        self._add_fan(kernel, jetpack)
        self._add_monitors(kernel, jetpack)
        self._add_zones(kernel, jetpack, policies, gpu)
        mode = Nvpmodel(
            kernel, policies, gpu, release.emc_cap, self.modes, self.mode, jetpack >= _TWO_KERNELS
        )
        mode.switch_power_mode(self.mode)  # as the boot does
        return kernel

    def _add_gpu(self, kernel: FakeKernel, jetpack: int) -> DevfreqDevice:
        folder = self.gpu_folders[jetpack]
        governors = tuple(g for g in GPU_GOVERNORS if self.has_set_freq or g != "userspace")
        gpu = DevfreqDevice(
            kernel, folder, self.gpu_hz, governors=governors, governor="nvhost_podgov"
        )
        kernel.devices["gpu"] = gpu
        kernel.add(
            {
                "load": Computed(lambda: round(gpu.load * 1000)),  # per mille
                "railgate_enable": Stored(1, ("0", "1")),
                "power/control": Stored("auto", ("auto", "on")),
                "of_node/name": Text(folder.rpartition(".")[2], end="\0"),
            },
            folder,
        )
        kernel.link(f"{folder}/devfreq_dev", gpu.folder)
        return gpu

    def _add_fan(self, kernel: FakeKernel, jetpack: int) -> None:
        if jetpack == 4:
            kernel.add({"sys/devices/pwm-fan/target_pwm": Stored(0)})
        else:
            add_chip(kernel, "sys/devices/platform/pwm-fan", "pwmfan", {"pwm1": Stored(0)})
        CoolingDevice(kernel, "pwm-fan", 10, lambda _: None)

    def _add_monitors(self, kernel: FakeKernel, jetpack: int) -> None:
        controller, bus = self.i2c[jetpack]
        for number, (address, channels) in enumerate(self.rails.items()):
            device = f"sys/devices/{controller}/i2c-{bus}/{bus}-{address}"
            rails = [Rail(name, *values) for name, values in channels.items()]
            if jetpack == 4:
                add_ina3221_iio(kernel, device, rails, number)
            else:
                add_ina3221(kernel, device, rails)
                kernel.link(f"sys/bus/i2c/drivers/ina3221/{bus}-{address}", device)

    def _add_zones(
        self, kernel: FakeKernel, jetpack: int, policies: list[CpufreqPolicy], gpu: DevfreqDevice
    ) -> None:
        suffix = "-thermal" if jetpack >= 6 else "-therm"
        cpu, gpu_name = ("cpu", "gpu") if jetpack >= 6 else ("CPU", "GPU")
        cpu_cooling = [cool_cpufreq(kernel, policy) for policy in policies]
        gpu_cooling = [cool_devfreq(kernel, gpu)]
        if "nvidia,tegra234" in self.compatible:
            # As several public notes have it of R35 and R36: the trip at 70 C only warns.
            trips = [("passive", 99.0), ("critical", 104.5), ("passive", 70.0)]
            alerts = [(2, CoolingDevice(kernel, "hot-surface-alert", 1, lambda _: None))]
        else:
            # Trip temperatures are rough; a Xavier NX throttles near 91 C.
            trips, alerts = [("passive", 91.0), ("critical", 104.5)], []
        for name, temp_c, cooling in (
            (f"{cpu}{suffix}", 45.0, cpu_cooling),
            (f"{gpu_name}{suffix}", 44.0, gpu_cooling),
        ):
            if alerts:
                kind = f"{name.partition('-')[0].lower()}-throttle-alert"
                cooling.append(CoolingDevice(kernel, kind, 1, lambda _: None))
            ThermalZone(kernel, name, temp_c, trips, cooling, alerts)
        if jetpack == 4:
            # A constant; no temperature at all.
            ThermalZone(kernel, "PMIC-Die", 100.0, [("critical", 120.0)])
        if "nvidia,tegra234" in self.compatible:
            name = f"{'cv0' if jetpack >= 6 else 'CV0'}{suffix}"
            zone = ThermalZone(kernel, name, 0.0, trips)
            kernel.fails[f"{zone.folder}/temp"] = errno.EAGAIN  # powered off
            events = {f"oc{n}_event_cnt": Stored(0) for n in (1, 2, 3)}
            enabled = {f"oc{n}_throt_en": 1 for n in (1, 2, 3)}
            oc_device = "sys/devices/platform/soctherm-oc-event"
            add_chip(kernel, oc_device, "soctherm_oc", {**events, **enabled})


_ORIN_GPU = {5: "sys/devices/17000000.ga10b", 6: "sys/devices/platform/17000000.gpu"}
_ORIN_I2C = {5: ("c240000.i2c", 1), 6: ("platform/bus@0/c240000.i2c", 1)}
_MODULE_RAILS = {
    "0040": {
        "VDD_IN": (5.0, 5.0, 4.9),
        "VDD_CPU_GPU_CV": (5.0, 5.0, 1.2),
        "VDD_SOC": (5.0, 5.0, 1.4),
    }
}
_CLUSTERS_6 = ((0, 1, 2, 3), (4, 5))

NANO = Jetson(
    model="NVIDIA Jetson Nano Developer Kit",
    compatible=("nvidia,p3450-0000", "nvidia,jetson-nano", "nvidia,tegra210"),
    jetpacks=(4, 4),
    clusters=((0, 1, 2, 3),),
    cpu_khz=tables.NANO_CPU_KHZ,
    gpu_folders={4: "sys/devices/57000000.gpu"},
    gpu_hz=tables.NANO_GPU_HZ,
    emc_hz=tables.NANO_EMC_HZ,
    i2c={4: ("7000c400.i2c", 6)},
    # Shunts are a guess.
    rails={
        "0040": {
            "POM_5V_IN": (5.0, 5.0, 2.0),
            "POM_5V_GPU": (5.0, 5.0, 0.1),
            "POM_5V_CPU": (5.0, 5.0, 0.4),
        }
    },
    modes={0: PowerMode("MAXN"), 1: PowerMode("5W", 2, 918_000, 640_000_000, 1_600_000_000)},
)
TX2 = Jetson(
    model="quill",
    compatible=("nvidia,p2597-0000+p3310-1000", "nvidia,quill", "nvidia,tegra186"),
    jetpacks=(4, 4),
    clusters=((0, 3, 4, 5), (1, 2)),  # A57 and Denver; the numbers of the policies are a guess
    cpu_khz=tables.TX2_CPU_KHZ,
    gpu_folders={4: "sys/devices/17000000.gp10b"},
    gpu_hz=tables.TX2_GPU_HZ,
    emc_hz=tables.TX2_EMC_HZ,
    i2c={4: ("3160000.i2c", 0)},
    rails={
        "0040": {
            "VDD_SYS_GPU": (10.0, 19.0, 0.4),
            "VDD_SYS_SOC": (10.0, 19.0, 0.9),
            "VDD_3V8_WIFI": (10.0, 4.8, 0.1),
        },
        "0041": {
            "VDD_IN": (5.0, 19.0, 4.2),
            "VDD_SYS_CPU": (10.0, 19.0, 0.6),
            "VDD_5V0_DDR": (10.0, 4.8, 1.2),
        },
    },
    modes={
        0: PowerMode("MAXN"),
        1: PowerMode("MAXQ", None, 1_200_000, 850_000_000, 1_331_200_000),
        2: PowerMode("MAXP_CORE_ALL", None, 1_400_000, 1_122_000_000, 1_600_000_000),
    },
)
XAVIER_NX = Jetson(
    model="NVIDIA Jetson Xavier NX Developer Kit",
    compatible=("nvidia,p3449-0000+p3668-0000", "nvidia,tegra194"),
    jetpacks=(4, 5),
    clusters=((0, 1), (2, 3), (4, 5)),
    cpu_khz=tables.XAVIER_NX_CPU_KHZ,
    gpu_folders={4: "sys/devices/17000000.gv11b", 5: "sys/devices/17000000.gv11b"},
    gpu_hz=tables.XAVIER_NX_GPU_HZ,
    emc_hz=tables.XAVIER_NX_EMC_HZ,
    i2c={4: ("c240000.i2c", 7), 5: ("c240000.i2c", 7)},
    rails=_MODULE_RAILS,
    # No MAXN; caps in between are guesses.
    modes={
        0: PowerMode("MODE_15W_2CORE", 2, NO_CAP, NO_CAP, 1_600_000_000),
        1: PowerMode("MODE_15W_4CORE", 4, 1_420_800, NO_CAP, 1_600_000_000),
        2: PowerMode("MODE_15W_6CORE", 6, 1_420_800, NO_CAP, 1_600_000_000),
        5: PowerMode("MODE_10W_DESKTOP", 4, 1_907_200, 510_000_000, 1_600_000_000),
        7: PowerMode("MODE_20W_4CORE", 4, NO_CAP, NO_CAP, 1_866_000_000),
        8: PowerMode("MODE_20W_6CORE", 6, 1_420_800, NO_CAP, 1_866_000_000),
    },
    mode=8,
)
ORIN_NANO = Jetson(
    model="NVIDIA Jetson Orin Nano Developer Kit",
    compatible=("nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234"),
    jetpacks=(5, 6),
    clusters=_CLUSTERS_6,
    cpu_khz=tables.ORIN_NANO_CPU_KHZ,
    gpu_folders=_ORIN_GPU,
    gpu_hz=tables.ORIN_NANO_GPU_HZ,
    emc_hz=tables.ORIN_EMC_HZ,
    i2c=_ORIN_I2C,
    rails=_MODULE_RAILS,
    modes={0: PowerMode("15W"), 1: PowerMode("7W", 4, 960_000, 408_000_000)},
    has_set_freq=False,
)
ORIN_NANO_SUPER = replace(
    ORIN_NANO,
    model="NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
    cpu_khz=tables.ORIN_NANO_SUPER_CPU_KHZ,
    gpu_hz=tables.ORIN_NANO_SUPER_GPU_HZ,
    emc_hz=tables.ORIN_FAST_EMC_HZ,
    modes={
        0: PowerMode("15W", 6, 1_497_600, 612_000_000, 2_133_000_000),
        1: PowerMode("25W", 6, 1_344_000, 918_000_000, 3_199_000_000),
        2: PowerMode("MAXN_SUPER"),
        3: PowerMode("7W", 4, 960_000, 408_000_000, 2_133_000_000),
    },
    mode=1,
)
ORIN_NX = replace(
    ORIN_NANO,
    model="NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
    compatible=("nvidia,p3768-0000+p3767-0000", "nvidia,p3767-0000", "nvidia,tegra234"),
    clusters=((0, 1, 2, 3), (4, 5, 6, 7)),
    cpu_khz=tables.ORIN_NX_CPU_KHZ,
    gpu_hz=tables.ORIN_NX_GPU_HZ,
    # Modes after MAXN are guesses.
    modes={0: PowerMode("MAXN"), 1: PowerMode("10W", 4, 1_190_400, 612_000_000)},
    has_set_freq=True,
)
AGX_ORIN = replace(
    ORIN_NANO,
    model="NVIDIA Jetson AGX Orin Developer Kit",
    compatible=("nvidia,p3737-0000+p3701-0005", "nvidia,p3701-0005", "nvidia,tegra234"),
    clusters=((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)),
    cpu_khz=tables.AGX_ORIN_CPU_KHZ,
    gpu_hz=tables.AGX_ORIN_GPU_HZ,
    emc_hz=tables.ORIN_FAST_EMC_HZ,
    # No rail holds the total.
    rails={
        "0040": {
            "VDD_GPU_SOC": (2.0, 19.9, 2.4),
            "VDD_CPU_CV": (2.0, 19.9, 0.4),
            "VIN_SYS_5V0": (2.0, 5.0, 4.0),
        },
        "0041": {"VDDQ_VDD2_1V8AO": (2.0, 5.0, 0.3)},
    },
    modes={
        0: PowerMode("MAXN"),
        1: PowerMode("MODE_15W", 4, 1_113_600, 510_000_000, 2_133_000_000),
        2: PowerMode("MODE_30W", 8, 1_728_000, 612_000_000, 3_199_000_000),
        3: PowerMode("MODE_50W", 12, 2_201_600, 1_020_000_000, 3_199_000_000),
    },
    has_set_freq=True,
)
