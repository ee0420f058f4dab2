"""What the tests of the fakes share."""

from __future__ import annotations

import errno
import os
import re

import pytest

from tests.hw.fake.cpufreq import CpufreqPolicy
from tests.hw.fake.kernel import GENERATIONS, FakeKernel

TABLE_KHZ = (600_000, 700_000, 1_000_000, 1_500_000)
generations = pytest.mark.parametrize("generation", GENERATIONS)


def policy_of(generation):
    kernel = FakeKernel(generation)
    return kernel, CpufreqPolicy(kernel, range(4), TABLE_KHZ)


def check_refused(kernel, path, value, code=errno.EINVAL):
    with pytest.raises(OSError, match=re.escape(os.strerror(code))):
        kernel.write(path, str(value))
