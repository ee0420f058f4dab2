"""What the tests of the self-test share: a bench over a fake board, in the fake's time."""

from __future__ import annotations

import json
from contextlib import nullcontext

from hw.doctor.privacy import Secrets
from hw.selftest.bench import SelfTestBench, SelfTestEnvironment
from hw.selftest.run import begin, run
from tests.hw.fake.access import FakeSysfs


def surroundings(
    sysfs, load=nullcontext, *, jtop_w=None, pause=None, tell=len
) -> SelfTestEnvironment:
    """The fake's time, and what else a self-test takes from the outside."""

    def wait(seconds: float) -> bool:
        sysfs.kernel.sleep(seconds)
        return False

    clock, sleep = sysfs.kernel.clock, sysfs.kernel.sleep
    return SelfTestEnvironment(clock, sleep, pause or wait, load, lambda: jtop_w, tell)


def self_test(sysfs: FakeSysfs, load=nullcontext, **options) -> SelfTestBench:
    """Run the whole test; returns its bench with all findings."""
    bench = begin(sysfs, surroundings(sysfs, load, **options))
    run(bench, lambda: None)
    return bench


def document_of(bench: SelfTestBench) -> dict:
    """What the file holds, as read from disk."""
    return json.loads(json.dumps(bench.findings.document(Secrets.of(bench.sysfs))))


def verdicts(bench: SelfTestBench) -> dict[str, str]:
    """Verdict of each check by its name."""
    return {check.name: check.verdict.value for check in bench.findings.checks}


def texts(bench: SelfTestBench) -> dict[str, str]:
    """Text of each check by its name."""
    return {check.name: check.text for check in bench.findings.checks}
