"""Every board that the project knows, as a fake kernel of either generation."""

from __future__ import annotations

from collections.abc import Callable

from tests.hw.fake import jetson, tables
from tests.hw.fake.attribute import Computed, Text
from tests.hw.fake.cpufreq import Boost, CpufreqPolicy, add_acpi_cpufreq
from tests.hw.fake.cpus import CPU, Cpus
from tests.hw.fake.devfreq import DevfreqDevice
from tests.hw.fake.energy import Battery, Pmic, add_rapl
from tests.hw.fake.hwmon import Rail, add_chip, add_ina2xx, add_ina3221
from tests.hw.fake.kernel import FakeKernel
from tests.hw.fake.pstate import IntelPstate, add_amd_pstate_epp
from tests.hw.fake.system import describe_device_tree, describe_machine, describe_pc
from tests.hw.fake.thermal import ThermalZone, cool_cpufreq, cool_devfreq, cool_processor

ARM_RELEASE = {"old": "4.19.232", "new": "6.6.51"}
PC_RELEASE = {"old": "4.9.0-19-amd64", "new": "6.8.0-45-generic"}


def build_pi_4(generation: str) -> FakeKernel:
    """Raspberry Pi 4: four cores, no power measurement."""
    return _pi(generation, "Raspberry Pi 4 Model B Rev 1.4", "4", "2711", tables.PI_4_CPU_KHZ)


def build_pi_5(generation: str) -> FakeKernel:
    """Raspberry Pi 5: power by its PMIC."""
    kernel = _pi(generation, "Raspberry Pi 5 Model B Rev 1.0", "5", "2712", tables.PI_5_CPU_KHZ)
    Pmic(kernel)
    return kernel


def _pi(
    generation: str, model: str, version: str, chip: str, cpu_khz: tuple[int, ...]
) -> FakeKernel:
    kernel = FakeKernel(generation)
    describe_machine(kernel, f"{ARM_RELEASE[generation]}-v8+")
    compatible = (f"raspberrypi,{version}-model-b", f"brcm,bcm{chip}")
    describe_device_tree(kernel, model, compatible)
    Cpus(kernel, 4)
    policy = CpufreqPolicy(kernel, range(4), cpu_khz, governor="ondemand")
    cooling = [cool_cpufreq(kernel, policy)]
    zone = ThermalZone(
        kernel, "cpu-thermal", 50.0, [("passive", 80.0), ("critical", 110.0)], cooling
    )
    temperature = Computed(lambda: round(zone.temp_c * 1000))
    add_chip(kernel, zone.folder, "cpu_thermal", {"temp1_input": temperature})
    add_chip(kernel, "sys/devices/platform/soc/soc:firmware", "rpi_volt", {"in0_lcrit_alarm": 0})
    kernel.commands["vcgencmd get_throttled"] = "throttled=0x0\n"
    return kernel


def build_rk3588(generation: str, *, is_vendors: bool = False) -> FakeKernel:
    """RK3588 with a user's INA226 at its input; node names and tables are unverified.

    Args:
        generation: of the kernel.
        is_vendors: its cooling devices are numbered, and one slows the memory.
    """
    kernel = FakeKernel(generation)
    describe_machine(kernel, f"{ARM_RELEASE[generation]}-rockchip")
    describe_device_tree(kernel, "Radxa ROCK 5B", ("radxa,rock-5b", "rockchip,rk3588"))
    Cpus(kernel, 8)
    clusters = {
        range(4): tables.RK3588_A55_KHZ,
        range(4, 6): tables.RK3588_A76_KHZ,
        range(6, 8): tables.RK3588_A76_KHZ,
    }
    cooling = [
        cool_cpufreq(kernel, CpufreqPolicy(kernel, cpus, khz)) for cpus, khz in clusters.items()
    ]
    for name, table_hz in (
        ("fb000000.gpu", tables.RK3588_GPU_HZ),
        ("fdab0000.npu", tables.RK3588_NPU_HZ),
        ("dmc", tables.RK3588_DMC_HZ),
    ):
        folder = f"sys/devices/platform/{name}"
        device = DevfreqDevice(kernel, folder, table_hz)
        kernel.add({"of_node/name": Text(name.rpartition(".")[2], end="\0")}, folder)
        if name != "dmc" or is_vendors:
            cooling.append(cool_devfreq(kernel, device, is_numbered=is_vendors))
    trips = [("passive", 85.0), ("critical", 115.0)]
    ThermalZone(kernel, "soc-thermal", 45.0, trips, cooling)
    rail = Rail("ina226.power1", 10.0, 12.0, 3.5)
    add_ina2xx(kernel, "sys/devices/platform/feac0000.i2c/i2c-4/4-0040", "ina226", rail)
    return kernel


def build_thor(generation: str) -> FakeKernel:
    """Jetson Thor: two GPU domains and `bwmgr`; paths, tables and monitors are guesses."""
    kernel = FakeKernel(generation)
    describe_machine(kernel, "6.8.12-tegra")
    compatible = ("nvidia,p3971-0080+p3834-0008", "nvidia,tegra264")
    describe_device_tree(kernel, "NVIDIA Jetson AGX Thor Developer Kit", compatible)
    kernel.add({"etc/nv_tegra_release": "# R38 (release), REVISION: 2.0, GCID: 0, BOARD: generic"})
    Cpus(kernel, 14)
    policies = [
        CpufreqPolicy(kernel, (cpu, cpu + 1), tables.THOR_CPU_KHZ, driver="cppc_cpufreq")
        for cpu in range(0, 14, 2)
    ]
    folder = "sys/devices/platform/bus@0/d0b0000000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0"
    cooling = [cool_cpufreq(kernel, policy) for policy in policies]
    for name in ("gpu-gpc-0", "gpu-nvd-0"):
        governors = ("nvhost_podgov", "userspace", "performance")
        gpu = DevfreqDevice(
            kernel,
            folder,
            tables.THOR_GPU_HZ,
            name=name,
            governors=governors,
            governor=governors[0],
        )
        cooling.append(cool_devfreq(kernel, gpu))
    DevfreqDevice(kernel, "sys/devices/platform/bwmgr", tables.THOR_EMC_HZ)
    trips = [("passive", 95.0), ("critical", 104.5)]
    ThermalZone(kernel, "tj-thermal", 45.0, trips, cooling)
    bus = "sys/devices/platform/bus@0/810c600000.i2c/i2c-2"
    add_ina3221(
        kernel,
        f"{bus}/2-0040",
        [
            Rail("VDD_GPU", 2.0, 12.0, 3.0),
            Rail("VDD_CPU_SOC_MSS", 2.0, 12.0, 8.0),
            Rail("VIN_SYS_5V0", 2.0, 5.0, 5.0),
        ],
    )
    add_ina2xx(kernel, f"{bus}/2-0044", "ina238", Rail("VIN", 2.0, 20.0, 24.0))
    return kernel


def build_x86_intel(generation: str) -> FakeKernel:
    """A laptop: intel_pstate in active mode, RAPL, a battery."""
    kernel = _pc(generation, "Intel(R) Core(TM) i5-1135G7 @ 2.40GHz", "Framework", "Laptop", 8)
    pstate = IntelPstate(kernel, 8, 400_000, 2_400_000, 4_200_000)
    _cool_pc(kernel, pstate.policies, "x86_pkg_temp", "coretemp")
    for cpu in range(8):
        folder = f"{CPU}/cpu{cpu}/thermal_throttle"
        kernel.add({"core_throttle_count": 0, "package_throttle_count": 0}, folder)
    add_rapl(kernel, 6.0, {"core": 3.0, "uncore": 0.5, "dram": 1.0, "psys": 9.0})
    Battery(kernel)
    return kernel


def build_x86_amd(generation: str) -> FakeKernel:
    """A small PC: amd-pstate-epp with boost, RAPL with cores only."""
    kernel = _pc(generation, "AMD Ryzen 7 7840U w/ Radeon 780M Graphics", "AZW", "SER7", 8)
    policies = add_amd_pstate_epp(kernel, 8, 400_000, 5_132_000)
    Boost(kernel, {policy.name: 3_300_000 for policy in policies})
    _cool_pc(kernel, policies, "acpitz", "k10temp")
    add_rapl(kernel, 5.0, {"core": 1.5})
    return kernel


def build_x86_acpi(generation: str) -> FakeKernel:
    """An older PC: acpi-cpufreq with the firmware's limit; no power measurement."""
    kernel = _pc(generation, "Intel(R) Core(TM)2 Quad CPU", "Dell Inc.", "OptiPlex", 4)
    policies = [add_acpi_cpufreq(kernel, cpu, tables.ACPI_CPU_KHZ) for cpu in range(4)]
    Boost(kernel, {policy.name: 2_400_000 for policy in policies})
    _cool_pc(kernel, policies, "acpitz", "coretemp")
    return kernel


def build_x86_acpi_boost(generation: str) -> FakeKernel:
    """An AMD laptop under acpi-cpufreq: its table ends at 1.8 GHz, boost reaches 4.3 GHz."""
    kernel = _pc(generation, "AMD Ryzen 7 4800U with Radeon Graphics", "LENOVO", "IdeaPad", 4)
    policies = [add_acpi_cpufreq(kernel, cpu, tables.ACPI_BOOST_KHZ, 4_300_000) for cpu in range(4)]
    Boost(kernel, {policy.name: 1_800_000 for policy in policies})
    _cool_pc(kernel, policies, "acpitz", "k10temp")
    return kernel


def _pc(generation: str, cpu_model: str, vendor: str, product: str, n_cpus: int) -> FakeKernel:
    kernel = FakeKernel(generation)
    describe_machine(kernel, PC_RELEASE[generation], cpu_model)
    describe_pc(kernel, vendor, product)
    Cpus(kernel, n_cpus)
    return kernel


def _cool_pc(kernel: FakeKernel, policies: list[CpufreqPolicy], zone: str, chip: str) -> None:
    cooling = [cool_processor(kernel, policy) for policy in policies]
    thermal = ThermalZone(kernel, zone, 42.0, [("passive", 95.0), ("critical", 105.0)], cooling)
    temperature = Computed(lambda: round(thermal.temp_c * 1000))
    add_chip(kernel, f"sys/devices/platform/{chip}.0", chip, {"temp1_input": temperature})


BOARDS: dict[str, Callable[[str], FakeKernel]] = {
    "jetson-nano": jetson.NANO.build,
    "jetson-tx2": jetson.TX2.build,
    "jetson-xavier-nx": jetson.XAVIER_NX.build,
    "jetson-agx-orin": jetson.AGX_ORIN.build,
    "jetson-orin-nano": jetson.ORIN_NANO.build,
    "jetson-orin-nano-super": jetson.ORIN_NANO_SUPER.build,
    "jetson-orin-nx": jetson.ORIN_NX.build,
    "jetson-thor": build_thor,
    "raspberry-pi-4": build_pi_4,
    "raspberry-pi-5": build_pi_5,
    "rk3588": build_rk3588,
    "x86-intel": build_x86_intel,
    "x86-amd": build_x86_amd,
    "x86-acpi": build_x86_acpi,
}
"""Builders by board; each takes "old" or "new"."""
