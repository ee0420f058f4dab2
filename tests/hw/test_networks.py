from __future__ import annotations

import pytest

from hw.calibrate.networks import NetworkSize, vgg19, xception


def test_xception_has_its_published_size():
    size = xception(299)
    assert size.multiply_adds == pytest.approx(8.4e9, rel=0.01)
    assert size.parameters == pytest.approx(22.9e6, rel=0.01)
    assert size.flops == 2 * size.multiply_adds


def test_vgg19_has_its_published_size():
    size = vgg19(224)
    assert size.multiply_adds == pytest.approx(19.6e9, rel=0.01)
    assert size.parameters == pytest.approx(143.67e6, rel=0.001)


def test_larger_images_cost_operations_and_traffic_but_no_parameters_or_kernels():
    small, large = xception(200), xception(400)
    assert large.parameters == small.parameters
    assert large.kernels == small.kernels
    assert 3.5 < large.flops / small.flops < 4.5
    assert large.traffic_bytes > small.traffic_bytes


def test_sizes_add_up():
    total = NetworkSize(1, 2, 3, 4) + NetworkSize(10, 20, 30, 40)
    assert total == NetworkSize(11, 22, 33, 44)
    assert total.traffic_bytes == 4 * (22 + 33)
