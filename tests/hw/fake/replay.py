"""A self-test's file turned back into a fake board.

Its clocks obey the rules of the fakes between the recorded ends and follow after the recorded time;
its power follows clocks and load as the recorded windows say; everything else shows what it showed.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace
from typing import Any

from hw.clocks.cpufreq import PSTATE_DRIVERS
from hw.clocks.emc import BPMP_TABLE, CAPS, OVERRIDE, OVERRIDE_BOUNDS, OVERRIDE_MHZ
from hw.doctor.tree import Tree
from hw.sysfs import COMMANDS
from tests.hw.fake.attribute import Stored, Text
from tests.hw.fake.cpufreq import CPUFREQ, CpufreqPolicy
from tests.hw.fake.devfreq import CLASS as DEVFREQ
from tests.hw.fake.devfreq import DevfreqDevice
from tests.hw.fake.emc import BPMP, BpmpEmc, Tegra210Emc
from tests.hw.fake.kernel import NEW, OLD, FakeKernel
from tests.hw.fake.replay_heat import add_zones
from tests.hw.fake.replay_power import ReplayedPower

AGGREGATES_SINCE = (5, 5)
"""Linux that keeps requests apart from limits, for cpufreq and devfreq (PM QoS)."""


def replay(document: dict[str, Any]) -> tuple[FakeKernel, ReplayedPower]:
    """A fake board that does what the machine of a self-test did, and its power."""
    tree = Tree.from_document(document["tree"])
    kernel = FakeKernel(_generation(document["versions"]["kernel"]))
    _add_texts(kernel, tree)
    _add_policies(kernel, tree, document)
    _add_devfreq(kernel, tree, document)
    _add_emc(kernel, tree, document)
    add_zones(kernel)
    power = ReplayedPower(kernel, document)
    kernel.writes.clear()
    return kernel, power


def _generation(release: str) -> str:
    numbers = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    return NEW if numbers >= AGGREGATES_SINCE else OLD


def _add_texts(kernel: FakeKernel, tree: Tree) -> None:
    for name, text in tree.files.items():
        if name.startswith(f"{COMMANDS}/"):
            kernel.commands[name.removeprefix(f"{COMMANDS}/")] = text
        elif name in tree.writable:
            kernel.add({name: Stored(text.strip())})
        else:
            kernel.add({name: Text(text, end="")})
    for name, code in tree.refused.items():
        kernel.add({name: ""})
        kernel.fails[name] = code
    # Names through a linked folder are there by that link already.
    for name in sorted(tree.links, key=lambda name: name.count("/")):
        if kernel.real_path(name) != tree.links[name]:
            kernel.link(name, tree.links[name])


def lag_of(document: dict[str, Any], *names: str) -> float:
    """Time after which a clock followed when it was pinned; 0 where that was not seen, s."""
    seen_s = [
        step["seen_s"]
        for step in document["steps"]
        if step["domain"] in names and step["hold"] == "pin" and step["seen_s"] is not None
    ]
    return median(seen_s) if seen_s else 0.0


def _add_policies(kernel: FakeKernel, tree: Tree, document: dict[str, Any]) -> None:
    folders = [name for name in kernel.glob(f"{CPUFREQ}/policy*") if kernel.exists(name)]
    online: set[int] = set()
    kernel.devices["cpus"] = SimpleNamespace(online=online)
    for folder in sorted(folders, key=lambda name: (len(name), name)):
        text = _reader(tree, folder)
        related = [int(cpu) for cpu in text("related_cpus").split()]
        online.update(int(cpu) for cpu in text("affected_cpus").split())
        table_khz = [int(khz) for khz in text("scaling_available_frequencies").split()]
        policy = CpufreqPolicy(
            kernel,
            related,
            table_khz or None,
            limits_khz=(int(text("cpuinfo_min_freq")), int(text("cpuinfo_max_freq"))),
            driver=text("scaling_driver"),
            governors=text("scaling_available_governors").split(),
            governor=text("scaling_governor"),
            autonomous=text("scaling_driver") in PSTATE_DRIVERS,
        )
        for end in ("min", "max"):
            shown = text(f"scaling_{end}_freq")
            if shown:
                setattr(policy, f"user_{end}_khz", int(shown))
        policy.lag_s = lag_of(document, "cpu", f"cpu{related[0]}")


def _add_devfreq(kernel: FakeKernel, tree: Tree, document: dict[str, Any]) -> None:
    for name in kernel.glob(f"{DEVFREQ}/*"):
        folder = posixpath.dirname(kernel.real_path(f"{name}/cur_freq"))
        text = _reader(tree, folder)
        table_hz = [int(hz) for hz in text("available_frequencies").split()]
        if not table_hz:
            continue
        node = posixpath.basename(name)
        device = DevfreqDevice(
            kernel,
            folder.removesuffix(f"/devfreq/{node}"),
            table_hz,
            name=node,
            governors=text("available_governors").split(),
            governor=text("governor"),
        )
        kernel.write(f"{folder}/max_freq", text("max_freq"))
        kernel.write(f"{folder}/min_freq", text("min_freq"))
        if text("target_freq") == "" and not kernel.is_old:
            kernel.remove(f"{folder}/target_freq")
        device.lag_s = lag_of(document, node, *_roles(document, node))


def _roles(document: dict[str, Any], node: str) -> list[str]:
    """Names that a domain of this node may have: its role, where it is the only one."""
    roles = {"gpu", "npu", "emc"} & {step["domain"] for step in document["steps"]}
    words = {"gpu": ("gpu", "gp10b", "gv11b", "ga10b", "gm20b"), "npu": ("npu",)}
    return [role for role in roles if any(w in node for w in words.get(role, ("emc", "dmc")))]


def _add_emc(kernel: FakeKernel, tree: Tree, document: dict[str, Any]) -> None:
    cap = next((name for name in CAPS if name in tree.files), None)
    if BPMP_TABLE in tree.files:
        table_hz = [int(raw) * 1000 for raw in tree.files[BPMP_TABLE].split()]
        emc: BpmpEmc | Tegra210Emc = BpmpEmc(kernel, table_hz, cap or CAPS[0])
    elif f"{OVERRIDE}/clk_rate" in tree.files:
        low, high = (int(tree.files[f"{OVERRIDE_BOUNDS}/emc_{e}_rate"]) for e in ("min", "max"))
        points_hz = {low, *(hz for m in OVERRIDE_MHZ if low <= (hz := round(m * 1e6)) <= high)}
        emc = Tegra210Emc(kernel, sorted(points_hz), cap or CAPS[0])
        kernel.write(f"{OVERRIDE}/clk_update_rate", tree.files[f"{OVERRIDE}/clk_rate"])
        kernel.write(f"{OVERRIDE}/clk_state", tree.files[f"{OVERRIDE}/clk_state"])
    else:
        return
    if cap is None:
        kernel.remove(CAPS[0])
    else:
        emc.cap_hz = int(tree.files[cap])
    if tree.files.get(f"{BPMP}/clk/emc/mrq_rate_locked", "0").strip() == "1":
        kernel.write(f"{BPMP}/clk/emc/rate", tree.files[f"{BPMP}/clk/emc/rate"])
        kernel.write(f"{BPMP}/clk/emc/mrq_rate_locked", "1")
    emc.lag(lag_of(document, "emc"))


def _reader(tree: Tree, folder: str) -> Callable[[str], str]:
    """Texts of a recorded folder; empty for what is not there."""
    return lambda name: tree.files.get(f"{folder}/{name}", "").strip()
