"""Link and server as a board finds them, and the scenario that says so."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from envs.calibration.campaign import pieces
from envs.calibration.network_runner import NetworkRunner
from envs.calibration.samples import Kind
from envs.errors import CalibrationError
from envs.scenarios.episodes import CALL_S
from envs.scenarios.scenario import SCENARIO_DIR
from partition.edge.client import CloudClient
from partition.edge.server_speed import FASTEST, MAX_LOAD, SLOWEST
from partition.model.folder import ModelFolder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIKE = "steady-wifi"
"""Scenario that says of requests and deadlines what no measurement can."""
N_PROBES = 5
N_REQUESTS = 5
PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class CloudFigures:
    """What was measured of a link and a server.

    Attributes:
        rates_bps: of the uplink, ascending, bit/s.
        rtts_s: round trips of an empty request, ascending, s.
        server_flops_per_s: of the idle server, over tails of several depths, ascending.
    """

    rates_bps: tuple[float, ...]
    rtts_s: tuple[float, ...]
    server_flops_per_s: tuple[float, ...]

    @property
    def words(self) -> str:
        """One line for people."""
        rate, rtt, speed = (
            statistics.median(seen)
            for seen in (self.rates_bps, self.rtts_s, self.server_flops_per_s)
        )
        low, high = self.server_flops_per_s[0], self.server_flops_per_s[-1]
        return (
            f"cloud: uplink {rate / 1e6:.1f} Mbit/s, round trip {1e3 * rtt:.1f} ms, server "
            f"{speed / 1e9:.1f} GFLOP/s ({low / 1e9:.1f} to {high / 1e9:.1f} over its tails)"
        )

    def scenario(self, name: str) -> dict[str, Any]:
        """A scenario with this link and server, its requests those of `LIKE`.

        Args:
            name: of the board.
        """
        text = (SCENARIO_DIR / f"{LIKE}.toml").read_text(encoding="utf-8")
        document = tomllib.loads(text)
        document["description"] = (
            f"Link and server as {name} found them in a minute; requests as in {LIKE}."
        )
        rates = [rate / 1e6 for rate in self.rates_bps]
        rtts = [max(rtt - CALL_S, 0.0) * 1e3 for rtt in self.rtts_s]
        document["link"]["rate_mbps"]["quantiles"] = [round(rate, 3) for rate in rates]
        document["link"]["rtt_ms"]["quantiles"] = [round(rtt, 3) for rtt in rtts]
        speed = statistics.median(self.server_flops_per_s)
        document["server"]["gflop_per_s"] = round(speed / 1e9, 3)
        return document


def measure(client: CloudClient, folder: ModelFolder, runner: NetworkRunner) -> CloudFigures:
    """Measure a link and a server that answer.

    Args:
        client: connected.
        folder: the model.
        runner: makes what is sent.

    Raises:
        CalibrationError: no tail takes the server any time.
        CloudError: it does not answer.
    """
    links = [client.probe() for _ in range(N_PROBES)]
    speeds: list[float] = []
    for index in _cuts(runner):
        option = runner.options[index]
        point, sent = folder.split_points[option.route.split], runner.sent(index)
        seen = []
        for _ in range(N_REQUESTS):
            reply = client.infer(point, sent, PATIENCE_S)
            idle_s = reply.compute_s * (1.0 - min(reply.load, MAX_LOAD))
            if idle_s > 0.0:
                seen.append(min(max(option.cloud_flops / idle_s, SLOWEST), FASTEST))
        speeds += [statistics.median(seen)] if seen else []
    if not speeds:
        raise CalibrationError("the server reports no computing time; see its log")
    return CloudFigures(
        tuple(sorted(link.rate_bps for link in links)),
        tuple(sorted(link.rtt_s for link in links)),
        tuple(sorted(speeds)),
    )


def _cuts(runner: NetworkRunner) -> Sequence[int]:
    """Routes whose tails are timed."""
    found = pieces(runner.options, frozenset({Kind.TAIL}))
    return [piece.route for piece in found if runner.options[piece.route].cloud_flops]
