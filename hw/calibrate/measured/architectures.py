"""Sizes of the networks that were measured on whole boards, from their published layers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from hw.calibrate.networks import Builder, NetworkSize

SUBMITTED = {
    "resnet50": NetworkSize(multiply_adds=4_100_000_000, parameters=25_600_000, kernels=72),
    "ssd-mobilenet": NetworkSize(multiply_adds=1_235_000_000, parameters=6_910_000, kernels=48),
    "ssd-resnet34": NetworkSize(multiply_adds=216_500_000_000, parameters=36_300_000, kernels=62),
}
"""Vision networks of MLPerf Inference: operations and parameters as its authors give them (Reddi
and others 2020, table I), kernels counted as layers with additions and pooling."""


def size_of(network: str, px: int | None = None) -> NetworkSize | None:
    """Size of a network by the name that the measurements use; None for one not known here.

    Args:
        network: the name.
        px: side of the input, where the name does not hold it.
    """
    for pattern, build in _BUILDERS.items():
        if found := re.fullmatch(pattern, network):
            return build(*found.groups(), *([px] if px is not None else []))
    return None


def mobilenet_v1(width: str, px: str) -> NetworkSize:
    """Size of a MobileNet (Howard and others 2017, table 1)."""
    net, alpha = Builder(int(px)), float(width)
    net.conv(int(32 * alpha), 3, 2)
    for out, stride in (
        *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
        *[(512, 1)] * 5,
        *((1024, 2), (1024, 1)),
    ):
        net.depthwise(3, stride)
        net.conv(int(out * alpha), 1)
    net.global_pool()
    net.dense(1001)
    return net.size


def mobilenet_v2(width: str, px: str) -> NetworkSize:
    """Size of a MobileNetV2 (Sandler and others 2018, table 2)."""
    net, alpha = Builder(int(px)), float(width)
    net.conv(_channels(32 * alpha), 3, 2)
    for expand, out, repeats, stride in (
        *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
        *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
    ):
        for index in range(repeats):
            _inverted(net, _channels(out * alpha), 3, stride if index == 0 else 1, expand)
    net.conv(_channels(1280 * max(alpha, 1.0)), 1)
    net.global_pool()
    net.dense(1001)
    return net.size


_LITE = ((1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300))
"""Width, depth and input size of each EfficientNet-Lite."""


def efficientnet_lite(number: str) -> NetworkSize:
    """Size of an EfficientNet-Lite (Tan and Le 2019, without squeeze and excitation)."""
    width, depth, px = _LITE[int(number)]
    net = Builder(px)
    net.conv(32, 3, 2)
    for stage, (expand, out, kernel, stride, repeats) in enumerate(
        (
            *((1, 16, 3, 1, 1), (6, 24, 3, 2, 2), (6, 40, 5, 2, 2), (6, 80, 3, 2, 3)),
            *((6, 112, 5, 1, 3), (6, 192, 5, 2, 4), (6, 320, 3, 1, 1)),
        )
    ):
        for index in range(repeats if stage in (0, 6) else math.ceil(repeats * depth)):
            _inverted(net, _channels(out * width), kernel, stride if index == 0 else 1, expand)
    net.conv(1280, 1)
    net.global_pool()
    net.dense(1000)
    return net.size


def resnet50() -> NetworkSize:
    """Size of ResNet-50 for 224 px (He and others 2015, table 1)."""
    net = Builder(224)
    net.conv(64, 7, 2)
    net.pool()
    for stage, (width, repeats) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for index in range(repeats):
            stride = 2 if stage > 0 and index == 0 else 1
            px, channels = net.px, net.channels
            net.conv(width, 1)
            net.conv(width, 3, stride)
            net.conv(4 * width, 1)
            if index == 0:
                path = net.branch(px, channels)
                path.conv(4 * width, 1, stride)
                net.size += path.size
            net.add()
    net.global_pool()
    net.dense(1000)
    return net.size


_YOLO = {"n": (0.33, 0.25, 1024), "s": (0.33, 0.5, 1024), "m": (0.67, 0.75, 768)}
"""Depth, width and largest number of channels of each YOLOv8."""


def yolov8(letter: str, px: int) -> NetworkSize:
    """Size of a YOLOv8 detector for 80 classes (Ultralytics' published layers)."""
    depth, width, largest = _YOLO[letter]
    net = Builder(px)

    def channels(out: int) -> int:
        return math.ceil(min(out, largest) * width / 8) * 8

    def c2f(out: int, repeats: int, *, shortcut: bool) -> tuple[int, int]:
        half = channels(out) // 2
        count = max(round(repeats * depth), 1)
        net.conv(2 * half, 1)
        for _ in range(count):
            net.channels = half
            net.conv(half, 3)
            net.conv(half, 3)
            if shortcut:
                net.add()
        net.channels = (2 + count) * half
        net.conv(2 * half, 1)
        return net.px, net.channels

    net.conv(channels(64), 3, 2)
    ends = []
    for out, repeats in ((128, 3), (256, 6), (512, 6), (1024, 3)):
        net.conv(channels(out), 3, 2)
        ends.append(c2f(out, repeats, shortcut=True))
    _, third, fourth, (_, last) = ends
    net.conv(last // 2, 1)  # pooling pyramid: three poolings of the same size, side by side
    for _ in range(3):
        net.size += NetworkSize(activations=2 * net.numbers(), kernels=1)
    net.channels = 2 * last
    net.conv(last, 1)
    _enlarge(net, fourth)
    middle = c2f(512, 3, shortcut=False)
    _enlarge(net, third)
    heads = [c2f(256, 3, shortcut=False)]
    for out, beside in ((512, middle[1]), (1024, last)):
        net.conv(channels(out // 2), 3, 2)
        net.channels += beside
        heads.append(c2f(out, 3, shortcut=False))
    boxes, classes = max(16, heads[0][1] // 4, 64), max(heads[0][1], 80)
    for head in heads:
        for inner, out in ((boxes, 64), (classes, 80)):
            path = net.branch(*head)
            path.conv(inner, 3)
            path.conv(inner, 3)
            path.conv(out, 1)
            net.size += path.size
    return net.size


def _enlarge(net: Builder, to: tuple[int, int]) -> None:
    """Double the image and put a tensor of that size beside it."""
    px, channels = to
    net.size += NetworkSize(activations=net.numbers() + px * px * net.channels, kernels=1)
    net.px = px
    net.channels += channels


def _inverted(net: Builder, out: int, kernel: int, stride: int, expand: int) -> None:
    """A block that widens, convolves each channel, and narrows."""
    px, channels = net.px, net.channels
    if expand != 1:
        net.conv(channels * expand, 1)
    net.depthwise(kernel, stride)
    net.conv(out, 1)
    if (net.px, out) == (px, channels):
        net.add()


def _channels(wanted: float) -> int:
    """The multiple of eight that MobileNets take for a number of channels."""
    found = max(8, int(wanted + 4) // 8 * 8)
    return found + 8 if found < 0.9 * wanted else found


_BUILDERS: dict[str, Callable[..., NetworkSize]] = {
    r"mobilenet-v1-([\d.]+)-(\d+)-non-quantized": mobilenet_v1,
    r"mobilenet-v2-([\d.]+)-(\d+)-non-quantized": mobilenet_v2,
    r"efficientnet-lite(\d)-non-quantized": efficientnet_lite,
    r"resnet50": resnet50,
    r"yolov8([nsm])": yolov8,
}
