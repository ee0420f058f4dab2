"""A board that says what it is told to say."""

from __future__ import annotations

from types import SimpleNamespace

from envs.live.supervisor import ClockInForce, StepPower
from partition.transport.link_estimator import LinkEstimate

STEP_S = 0.25


class Plant:
    """Says what it is told to say."""

    layout = SimpleNamespace(board='a "board"', model="network")
    placement, is_modelled, dry_run = "cpu", True, False
    n_failures = {"power": 2}  # noqa: RUF012 - never changed
    clocks_hz = {"cpu": 1_000_000_000, "gpu": 500_000_000}  # noqa: RUF012
    clocks_in_force = (
        ClockInForce("cpu", 2_000_000_000, 1_000_000_000, "the thermal guard"),
        ClockInForce("gpu", 500_000_000, 500_000_000, None),
    )
    link = known_link = LinkEstimate(5e6, 0.004, age_s=0.0, server_load=0.5)
    has_cloud, evidence, too_slow_share = True, None, 0.0
    known_margin_c, latency_target_s, server_j = 12.5, 0.1, 0.0
    power_w = 4.0
    last_power = StepPower(4.0, STEP_S, is_measured=True, uncertainty_w=0.2)

    def serve(self, *requests, dropped=0):
        self.served = [
            SimpleNamespace(
                latency_s=latency_s,
                met_deadline=latency_s <= self.latency_target_s,
                agrees=None,
                result=SimpleNamespace(failure=failure),
            )
            for latency_s, failure in requests
        ]
        self.dropped = dropped
        return {"outcome": {"power_w": self.power_w}, "reward_terms": {"energy": 0.5}, "route": 0}

    def route_name(self, index):
        return "16 kB cut"

    def accuracy_of(self, served):
        return None
