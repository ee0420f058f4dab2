"""One arm on the emulated board in real time, as `benchmarks.testbed_curve` starts it.

`python -m benchmarks.testbed_curve.real ARM --cloud HOST:PORT ..`, at the near end of a shaped
link; prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from agents.testbed.place import LivePlace
from benchmarks.testbed_curve.arms import ARMS, Bench
from benchmarks.testbed_curve.recorded import RecordedEnv
from benchmarks.testbed_curve.task import NETWORK, world_of, write_scenario
from common import command
from hw.base import Hold
from partition.security.tls import ClientSecurity


def main(argv: Sequence[str] | None = None) -> int:
    """Run the arm."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.testbed_curve.real", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("arm", choices=[arm.name for arm in ARMS], help="who learns")
    parser.add_argument("--board", default="emulated", help="name of the board (%(default)s)")
    parser.add_argument("--device", required=True, help="its file, of calibrate.py")
    parser.add_argument("--model", default=NETWORK, help="the network (%(default)s)")
    parser.add_argument("--cloud", default=None, help="HOST:PORT at the far end")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (%(default)s)")
    parser.add_argument("--folder", type=Path, required=True, help="what is learned in simulation")
    parser.add_argument("--scratch", type=Path, required=True, help="what is not kept")
    arguments = parser.parse_args(argv)
    for folder in (arguments.folder, arguments.scratch):
        folder.mkdir(parents=True, exist_ok=True)
    arm = next(arm for arm in ARMS if arm.name == arguments.arm)
    scenario = write_scenario(arguments.scratch)
    bench = Bench(
        world=world_of(scenario, arguments.device, arguments.model),
        scenario=scenario,
        device=arguments.device,
        model=arguments.model,
        folder=arguments.folder,
    )
    if arm.way in ("warm", "fit"):
        bench.simulated(arm.algorithm, arguments.seed)  # before the board is opened
    place = LivePlace(
        board=arguments.board,
        scenario=str(scenario),
        cloud=arguments.cloud,
        n_steps=0,
        seed=arguments.seed,
        security=ClientSecurity(insecure=True),
    )
    layout = bench.world.layout
    live = place.open(
        arguments.device,
        arguments.model,
        n_steps=240,
        hold=Hold.PIN,
        max_power_w=layout.max_power_w,
    )
    env = RecordedEnv(live.plant, live.objective)
    try:
        course = bench.run(arm, env, arguments.seed, arguments.scratch)
    finally:
        env.close()
    print(json.dumps({name: values.tolist() for name, values in asdict(course).items()}))
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
