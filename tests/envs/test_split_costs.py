from __future__ import annotations

from dataclasses import replace

import numpy as np

from envs.sim.split_costs import SplitCosts
from hw.device.latency import HostScaling
from tests.envs.conftest import POINTS, _option

OPTIONS = [_option(i) for i in range(len(POINTS))]


def test_the_head_has_what_the_processor_does_beside_the_network(device, costs):
    host = HostScaling(cpu_cycles_per_request=3e6, cpu_cycles_per_byte=20.0)
    found = SplitCosts.of(replace(device, host=host), OPTIONS)
    more = 3e6 + 20.0 * np.array([point.wire_bytes for point in POINTS])
    np.testing.assert_allclose(found.head.cpu_cycles - costs.head.cpu_cycles, more)
    np.testing.assert_array_equal(found.head.gpu_cycles, costs.head.gpu_cycles)
    np.testing.assert_array_equal(found.tail.cpu_cycles, costs.tail.cpu_cycles)


def test_a_request_takes_that_much_longer(device, costs):
    host = HostScaling(cpu_cycles_per_request=2e7)
    found = SplitCosts.of(replace(device, host=host), OPTIONS)
    hz = [float(table[0]) for table in (device.cpu_hz, device.gpu_hz, device.emc_hz)]
    more_s = device.latency_s(found.head, *hz) - device.latency_s(costs.head, *hz)
    np.testing.assert_allclose(more_s, 2e7 / hz[0])
