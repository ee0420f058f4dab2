"""The layer graphs that the published placements were computed on, as Keras builds them.

Only sizes: no weights, no Keras. Tests check the numbers of parameters and of cut points.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from benchmarks.placement.published.layers import LayerGraph


def _conv_norm_act(
    g: LayerGraph,
    x: int,
    filters: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    *,
    valid: bool = False,
    scale: bool = True,
) -> int:
    return g.same(g.norm(g.conv(x, filters, kernel, stride, valid=valid), scale=scale))


def vgg16() -> LayerGraph:
    """Simonyan and Zisserman, arXiv 1409.1556."""
    g = LayerGraph()
    x = g.input(224)
    for filters, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            x = g.conv(x, filters, 3, bias=True)
        x = g.pool(x, 2, 2)
    x = g.flatten(x)
    for features in (4096, 4096, 1000):
        x = g.dense(x, features)
    return g


def resnet50() -> LayerGraph:
    """He et al., arXiv 1512.03385."""
    g = LayerGraph()
    x = g.conv(g.pad(g.input(224), 3, 3), 64, 7, 2, valid=True, bias=True)
    x = g.pool(g.pad(g.same(g.norm(x)), 1, 1), 3, 2)
    for filters, repeats, first_stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for nth in range(repeats):
            stride = first_stride if nth == 0 else 1
            shortcut = x
            if nth == 0:
                shortcut = g.norm(g.conv(x, 4 * filters, 1, stride, bias=True))
            y = g.same(g.norm(g.conv(x, filters, 1, stride, bias=True)))
            y = g.same(g.norm(g.conv(y, filters, 3, bias=True)))
            y = g.norm(g.conv(y, 4 * filters, 1, bias=True))
            x = g.same(g.add(shortcut, y))
    g.dense(g.mean(x), 1000)
    return g


def mobilenet_v2() -> LayerGraph:
    """Sandler et al., arXiv 1801.04381."""
    g = LayerGraph()
    x = _conv_norm_act(g, g.input(224), 32, 3, 2)
    x = g.norm(g.conv(g.same(g.norm(g.depthwise(x, 3))), 16, 1))
    for filters, repeats, first_stride in (
        (24, 2, 2),
        (32, 3, 2),
        (64, 4, 2),
        (96, 3, 1),
        (160, 3, 2),
        (320, 1, 1),
    ):
        for nth in range(repeats):
            stride = first_stride if nth == 0 else 1
            y = _conv_norm_act(g, x, 6 * g.layers[x].shape[-1], 1)
            halved = stride == 2
            y = g.depthwise(g.pad(y, 0, 1) if halved else y, 3, stride, valid=halved)
            y = g.norm(g.conv(g.same(g.norm(y)), filters, 1))
            x = g.add(x, y) if nth else y
    x = _conv_norm_act(g, x, 1280, 1)
    g.dense(g.mean(x), 1000)
    return g


def efficientnet_b1() -> LayerGraph:
    """Tan and Le, arXiv 1905.11946: width 1.0, depth 1.1, 240 pixels."""
    g = LayerGraph()
    x = g.same(g.same(g.input(240)), 7)  # rescaling, normalisation
    x = _conv_norm_act(g, g.pad(x, 0, 1), 32, 3, 2, valid=True)
    for expand, filters, repeats, first_stride, kernel in (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    ):
        for nth in range(math.ceil(1.1 * repeats)):
            y = _mb_conv(g, x, expand, filters, first_stride if nth == 0 else 1, kernel)
            x = g.add(g.same(y), x) if nth else y  # dropout before the sum
    x = _conv_norm_act(g, x, 1280, 1)
    g.dense(g.same(g.mean(x)), 1000)
    return g


def _mb_conv(g: LayerGraph, x: int, expand: int, filters: int, stride: int, kernel: int) -> int:
    channels = g.layers[x].shape[-1]
    y = _conv_norm_act(g, x, expand * channels, 1) if expand > 1 else x
    if stride == 2:
        size = g.layers[y].shape[0]
        before = kernel // 2 - (1 - size % 2)
        y = g.depthwise(g.pad(y, before, kernel // 2), kernel, 2, valid=True)
    else:
        y = g.depthwise(y, kernel)
    y = g.same(g.norm(y))
    wide = g.layers[y].shape[-1]
    squeeze = g.reshape(g.mean(y), (1, 1, wide))
    squeeze = g.conv(squeeze, max(1, channels // 4), 1, bias=True)
    y = g.add(y, g.conv(squeeze, wide, 1, bias=True))
    return g.norm(g.conv(y, filters, 1))


def xception() -> LayerGraph:
    """Chollet, arXiv 1610.02357."""
    g = LayerGraph()
    x = _conv_norm_act(g, g.input(299), 32, 3, 2, valid=True)
    x = _conv_norm_act(g, x, 64, 3, valid=True)
    for nth, filters in enumerate((128, 256, 728)):
        shortcut = g.norm(g.conv(x, filters, 1, 2))
        y = g.norm(g.separable(g.same(x) if nth else x, filters))
        y = g.norm(g.separable(g.same(y), filters))
        x = g.add(g.pool(y, 3, 2, valid=False), shortcut)
    for _ in range(8):
        y = x
        for _ in range(3):
            y = g.norm(g.separable(g.same(y), 728))
        x = g.add(y, x)
    shortcut = g.norm(g.conv(x, 1024, 1, 2))
    y = g.norm(g.separable(g.same(x), 728))
    y = g.norm(g.separable(g.same(y), 1024))
    x = g.add(g.pool(y, 3, 2, valid=False), shortcut)
    for filters in (1536, 2048):
        x = g.same(g.norm(g.separable(x, filters)))
    g.dense(g.mean(x), 1000)
    return g


def densenet121() -> LayerGraph:
    """Huang et al., arXiv 1608.06993."""
    g = LayerGraph()
    x = _conv_norm_act(g, g.pad(g.input(224), 3, 3), 64, 7, 2, valid=True)
    x = g.pool(g.pad(x, 1, 1), 3, 2)
    for nth, repeats in enumerate((6, 12, 24, 16)):
        for _ in range(repeats):
            y = g.conv(g.same(g.norm(x)), 128, 1)
            x = g.concat(x, g.conv(g.same(g.norm(y)), 32, 3))
        if nth < 3:
            x = g.conv(g.same(g.norm(x)), g.layers[x].shape[-1] // 2, 1)
            x = g.pool(x, 2, 2)
    g.dense(g.mean(g.same(g.norm(x))), 1000)
    return g


def inception_resnet_v2() -> LayerGraph:
    """Szegedy et al., arXiv 1602.07261."""
    g = LayerGraph()

    def conv(
        x: int,
        filters: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        *,
        valid: bool = False,
    ) -> int:
        return _conv_norm_act(g, x, filters, kernel, stride, valid=valid, scale=False)

    def residual(x: int, *branches: int, activation: bool = True) -> int:
        up = g.conv(g.concat(*branches), g.layers[x].shape[-1], 1, bias=True)
        x = g.add(x, up)
        return g.same(x) if activation else x

    x = conv(g.input(299), 32, 3, 2, valid=True)
    x = g.pool(conv(conv(x, 32, 3, valid=True), 64, 3), 3, 2)
    x = g.pool(conv(conv(x, 80, 1, valid=True), 192, 3, valid=True), 3, 2)
    x = g.concat(
        conv(x, 96, 1),
        conv(conv(x, 48, 1), 64, 5),
        conv(conv(conv(x, 64, 1), 96, 3), 96, 3),
        conv(g.pool(x, 3, 1, valid=False), 64, 1),
    )
    for _ in range(10):
        x = residual(
            x, conv(x, 32, 1), conv(conv(x, 32, 1), 32, 3), conv(conv(conv(x, 32, 1), 48, 3), 64, 3)
        )
    x = g.concat(
        conv(x, 384, 3, 2, valid=True),
        conv(conv(conv(x, 256, 1), 256, 3), 384, 3, 2, valid=True),
        g.pool(x, 3, 2),
    )
    for _ in range(20):
        x = residual(x, conv(x, 192, 1), conv(conv(conv(x, 128, 1), 160, (1, 7)), 192, (7, 1)))
    x = g.concat(
        conv(conv(x, 256, 1), 384, 3, 2, valid=True),
        conv(conv(x, 256, 1), 288, 3, 2, valid=True),
        conv(conv(conv(x, 256, 1), 288, 3), 320, 3, 2, valid=True),
        g.pool(x, 3, 2),
    )
    for nth in range(10):
        branch = conv(conv(conv(x, 192, 1), 224, (1, 3)), 256, (3, 1))
        x = residual(x, conv(x, 192, 1), branch, activation=nth < 9)
    g.dense(g.mean(conv(x, 1536, 1)), 1000)
    return g


NETWORKS: dict[str, Callable[[], LayerGraph]] = {
    "MobileNetV2": mobilenet_v2,
    "EfficientNetB1": efficientnet_b1,
    "ResNet50": resnet50,
    "InceptionResNetV2": inception_resnet_v2,
    "VGG16": vgg16,
    "Xception": xception,
    "DenseNet121": densenet121,
}
"""By name; the first four are those of the published tables."""
