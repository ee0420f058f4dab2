"""The test bed: ResNet-50 on shaped nodes, predicted and measured, killed, slowed down, cut off.

python -m benchmarks.placement_run [--out results/placement-run.md]; as root, a quarter of an hour.
Exits with 1 where less than 90 % of the prediction is measured, a frame is lost, doubled or wrong,
or a killed stage is not back within 10 s.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.placement_run.trial import CAMERA, TrialRun, kill, measure, write_cluster
from partition.model.machine import describe_machine
from partition.prepare.build import prepare
from tests.cluster.bed import Bed, NodeSpec

SPECS = (
    NodeSpec(CAMERA, 0.2, 100e6),
    NodeSpec("a", 0.25, 100e6),
    NodeSpec("b", 0.3, 50e6),
    NodeSpec("c", 0.2, 50e6),
    NodeSpec("d", 0.2, 50e6),
)
_ROUNDS, _FRAMES, _LONG = 5, 100, 220
_SHARE, _BACK_S = 0.9, 10.0
_SLOWED, _SLOWED_BPS = "b", 4e6


@dataclass(frozen=True)
class Trial:
    """A run and what happened in it."""

    name: str
    result: dict

    @property
    def is_right(self) -> bool:
        return self.result["wrong"] == 0


class Trials:
    """Runs on a bed, each with freshly measured devices."""

    def __init__(self, bed: Bed, model: Path, scratch: Path) -> None:
        self._bed, self._model, self._cluster = bed, model, scratch / "bed.toml"
        self.done: list[Trial] = []

    def run(
        self,
        name: str,
        frames: int,
        act: Callable[[TrialRun], None] = lambda _: None,
        *,
        spare: bool = False,
    ) -> Trial:
        write_cluster(self._cluster, self._bed, measure(self._bed, self._model))
        run = TrialRun(self._bed, self._model, self._cluster, frames, spare=spare)
        act(run)
        trial = Trial(name, run.result())
        assert trial.result["frames"] == frames, trial
        self.done.append(trial)
        print("\n".join(lines(trial)), flush=True)
        return trial


def lines(trial: Trial) -> list[str]:
    """Table rows: one per placement."""
    rows = []
    breaks = ", ".join(f"{b['seconds']:.1f}" for b in trial.result["breaks"])
    for each in trial.result["placements"]:
        stages = " ".join(f"{s['device']} {s['start']}-{s['end']}" for s in each["stages"])
        drift = max((s["measured_s"] or 0.0) / s["expected_s"] for s in each["stages"])
        slowest_s = max(s["measured_s"] or 0.0 for s in each["stages"])
        measured = each["measured_frames_per_s"]
        rows.append(
            f"| {trial.name} | {each['reason']} | {stages} | {each['expected_frames_per_s']:.2f} | "
            + (
                f"- | - | {drift:.2f} | - |"
                if measured is None
                else f"{measured:.2f} | {each['share']:.0%} | {drift:.2f} | "
                f"{measured * slowest_s:.0%} |"
            )
            + f" {breaks or '-'} |"
        )
    return rows


def report(trials: Trials, verdict: str) -> str:
    """results/placement-run.md."""
    machine = describe_machine()
    specs = "; ".join(
        f"{s.name} {s.cpu_share:.0%} of a core, {s.rate_bps / 1e6:.0f} Mbit/s" for s in SPECS
    )
    frames = sum(trial.result["frames"] for trial in trials.done)
    rows = "\n".join(row for trial in trials.done for row in lines(trial))
    return f"""# A placed network, run

    python -m benchmarks.placement_run --out results/placement-run.md  ({time.strftime("%Y-%m-%d")})

ResNet-50 (random weights, 224 px, int8 between stages) on emulated devices of one machine
({machine["processor"]}, {machine["cores"]} cores): Ray nodes in network namespaces, each with a
share of a core for everything on it and a token bucket on its cable, both ways: {specs}. The camera
feeds frames and takes results; the others compute. Blocks, and what a tensor's way over the cable
takes of the processor, are measured on all devices at once before every run, in the same shares;
the plan comes from these.

{verdict}

All {frames} frames came back once and in order, compared one by one with the unsplit network's
outputs.

| run | placed because | device, cuts | expected | measured | share | drift | of stages | still, s |
|---|---|---|---|---|---|---|---|---|
{rows}

Frames per second, measured from the first result after the line has filled to the last one of a
placement; "killed" (stage c's process), "slowed" (b's cable to {_SLOWED_BPS / 1e6:.0f} Mbit/s) and
"cut off" (node c) hold the pauses, which "still" lists. With `--spare` a second process is ready on
every device. "Drift" is the largest ratio of a stage's measured time per frame to the one it was
planned with: beyond 1 the machine has become slower since its devices were measured, by other work
on it. "Of stages" is the measured rate over that of the slowest stage as it was measured during the
run.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.placement_run")
    parser.add_argument("--out", type=Path, help="write a report")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dvfo-bed-") as scratch, Bed(SPECS) as bed:
        model = prepare("tests.cluster.networks:resnet50", Path(scratch) / "resnet50").path
        bed.start_ray()
        trials = Trials(bed, model, Path(scratch))
        plain = [trials.run(f"plain {i + 1}", _FRAMES) for i in range(_ROUNDS)]

        def kill_one(run: TrialRun) -> None:
            kill(run.stages()["c"])

        killed = trials.run("killed", _FRAMES, kill_one)
        spared = trials.run("killed, spare", _FRAMES, kill_one, spare=True)

        def slow_down(run: TrialRun) -> None:
            run.stages()
            bed.shape(_SLOWED, _SLOWED_BPS)

        slowed = trials.run("slowed", _LONG, slow_down)
        bed.shape(_SLOWED, next(s.rate_bps for s in SPECS if s.name == _SLOWED))

        def cut_off(run: TrialRun) -> None:
            run.stages()
            bed.end_node("c")

        cut = trials.run("cut off", _FRAMES, cut_off)
    share = statistics.median(trial.result["placements"][0]["share"] for trial in plain)
    back_s, spared_s = (
        max((b["seconds"] for b in trial.result["breaks"]), default=float("inf"))
        for trial in (killed, spared)
    )
    bars = {
        f"{share:.0%} of the predicted rate (median of {_ROUNDS} runs; bar {_SHARE:.0%})": share
        >= _SHARE,
        f"a killed stage is back after {back_s:.1f} s (bar {_BACK_S:g} s)": back_s <= _BACK_S,
        f"with `--spare` after {spared_s:.1f} s (bar {_BACK_S:g} s)": spared_s <= _BACK_S,
        "stages moved when a link slowed down": len(slowed.result["placements"]) > 1,
        "stages moved when a node was cut off": len(cut.result["placements"]) > 1,
        "no frame lost, doubled or wrong": all(trial.is_right for trial in trials.done),
    }
    verdict = "\n".join(f"- {'met' if met else '**missed**'}: {bar}" for bar, met in bars.items())
    print(verdict)
    if arguments.out:
        arguments.out.write_text(report(trials, verdict))
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
