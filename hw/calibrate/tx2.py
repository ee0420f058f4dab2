"""Facts of the Jetson TX2 besides the data: tables, delays, heat, and how sure they are."""

from __future__ import annotations

import dataclasses

import tomli_w
from msgspec import structs

from hw.device.latency import Demand, NetworkScaling
from hw.device.power import PowerModel
from hw.device.thermal import ThermalModel
from hw.device.written import rounded, written

CPU_HZ = tuple(345_600_000 + 153_600_000 * step for step in range(12))
GPU_MHZ = (
    114.75,
    216.75,
    318.75,
    420.75,
    522.75,
    624.75,
    726.75,
    854.25,
    930.75,
    1032.75,
    1122.0,
    1236.75,
    1300.5,
)
EMC_MHZ = (204.0, 408.0, 665.6, 800.0, 1062.4, 1331.2, 1600.0, 1866.0)
DELAYS_S = {"cpu": 0.001, "gpu": 0.005, "emc": 0.008}

THERMAL = ThermalModel(
    offset_c=11.0,
    fast_c_per_w=0.7,
    fast_tau_s=1.5,
    slow_c_per_w=1.05,
    slow_tau_s=100.0,
    throttle_c=85.0,
    throttle_span_c=10.0,
)
SENSOR = {"shunt_ohm": 0.005, "shunt_step_v": 40e-6, "supply_v": 19.0, "period_s": 0.0066}

JETSON_GOVERNORS = {"cpu": "schedutil", "gpu": "nvhost_podgov", "emc": "follows-gpu"}
JETSON_GOVERNORS_FROM = (
    "gpu: the governor that Linux for Tegra names for the GPU (nvgpu, platform_*_tegra.c). cpu: "
    "its default since release 32; earlier ones have interactive. emc: the GPU's driver asks for "
    "bandwidth in proportion to its clock; what else asks for memory is not in it, and the ratio "
    "is assumed."
)

TENSORRT_NAMES = {
    "ResNet50_224x224": "resnet50_tensorrt",
    "inception_v4": "inception_v4_tensorrt",
    "vgg19_N2": "vgg19_tensorrt",
    "yolov3-tiny-416": "yolov3_tiny_tensorrt",
}

VALIDATED_ON = [
    "latency of ResNet-50, Inception-v4, VGG19 and tiny YOLOv3 under TensorRT over GPU and memory "
    "clocks of 1062 MHz and more",
    "latency of InceptionV3 and Xception under TensorFlow over all three clocks, two or more "
    "cores, memory clocks of 1062 MHz and more",
    "latency of one unnamed network over all three clocks, memory clocks of 204 MHz and more",
    "rail power of VGG19 under TensorRT over GPU clocks, memory at 1866 MHz",
]
MODELLED = [
    "latency of any other network, scaled from Xception by operations, traffic and kernels",
    "power of a busy GPU at other memory clocks, and of networks that fill the GPU less than "
    "VGG19 does: they draw less than this says",
    "temperature, throttling and actuation delays",
]

PROVENANCE = {
    "domains": "CPU and memory points: FlexiBO and unicorn data; GPU points: the grid of "
    "thynics/jetson_dvfs (other releases list other points). Memory clocks of 40.8, 68 and 102 "
    "MHz are left out: there inference takes seconds whatever the other clocks, which the "
    "latency form does not describe. Delays: measured on an Orin Nano (arXiv 2606.16106), "
    "assumed for the TX2.",
    "network": "Modelled. Fitted to Xception (TensorFlow) at 200, 400, 600 and 800 px, FlexiBO "
    "data, two or more cores; operations, traffic and kernels counted from the published "
    "architecture. Fixed time that grows with the pixels of the image is not the network's and "
    "left out. Networks other than those listed in validated_on are not validated.",
    "power": "board_*, gpu_busy_*, gpu_voltage_*, *_j_per_byte, the levels of soc_* and ddr_* and "
    "cpu_idle_w: VGG19 rails of thynics/jetson_dvfs. gpu_idle_*, cpu_idle_w_per_* and the memory "
    "slope: unicorn data (light load, 204 MHz and more). cpu_busy_w_per_hz3: core anchors 0.152 W "
    "idle and 1.073 W busy at 2035 MHz (reading unverified). Assumed: the memory slope divides "
    "between SOC and DDR as their levels; VGG19 moves float32 weights and activations once; the "
    "CPU idled at its lowest clock meanwhile. V is a relative voltage from a fit, not measured.",
    "thermal": "Rough values read off unicorn temperatures (about 1 C mean error). throttle_c and "
    "throttle_span_c are assumed.",
    "sensor": "INA3221 data sheet step of 40 uV; 5 mOhm shunt of VDD_IN; 6.6 ms for three "
    "channels at default averaging. The supply of 19 V is assumed (developer kit).",
    "workloads": "*_tensorrt: thynics/jetson_dvfs, CPU clock unknown, taken as not mattering. "
    "*_tensorflow: FlexiBO data, two or more cores. All configurations were used.",
    "governors": JETSON_GOVERNORS_FROM,
}


def device_toml(network: NetworkScaling, power: PowerModel, workloads: dict[str, Demand]) -> str:
    """Write the device file of the TX2 with fitted coefficients."""
    tables_hz = {
        "cpu": list(CPU_HZ),
        "gpu": [round(mhz * 1e6) for mhz in GPU_MHZ],
        "emc": [round(mhz * 1e6) for mhz in EMC_MHZ],
    }
    content = {
        "name": "tx2",
        "title": "NVIDIA Jetson TX2",
        "validated_on": VALIDATED_ON,
        "modelled": MODELLED,
        "provenance": PROVENANCE,
        "domains": {
            name: {"available_hz": table, "actuation_delay_s": DELAYS_S[name]}
            for name, table in tables_hz.items()
        },
        "network": written(network),
        "power": written(power),
        "thermal": structs.asdict(THERMAL),
        "sensor": SENSOR,
        "governors": JETSON_GOVERNORS,
        "workloads": {
            name: rounded(dataclasses.asdict(demand)) for name, demand in workloads.items()
        },
    }
    header = (
        "# Written by `python -m hw.calibrate`; edit that, not this. SI units, named in the keys;\n"
        "# [provenance] says where each section comes from.\n\n"
    )
    return header + tomli_w.dumps(content)
