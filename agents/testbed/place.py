"""The board that is learned on: which, under what requests, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from envs.edge_env import EdgeSplitEnv
from envs.governed.table import GovernedTable
from envs.live.make import make_live
from envs.live.plant import STEP_S
from envs.plant import Layout
from hw.base import Hold
from partition.providers.registry import Provider
from partition.security.tls import ClientSecurity


@dataclass(frozen=True, kw_only=True, slots=True)
class LivePlace:
    """Where and how long to learn.

    Attributes:
        board: a name in `hw.boards.registry`.
        scenario: name or TOML file.
        cloud: HOST:PORT of `partition.server`; None keeps everything on the edge.
        n_steps: control steps.
        seed: of everything random.
        listen: HOST:PORT where an application's requests are taken instead of pictures.
        security: what a cloud beyond this machine needs.
        providers: what the network runs on; None takes the best that work here.
    """

    board: str
    scenario: str
    cloud: str | None
    n_steps: int
    seed: int
    listen: str | None = None
    security: ClientSecurity = field(default_factory=ClientSecurity)
    providers: tuple[Provider, ...] | None = None

    def open(
        self,
        device: str | None,
        model: str,
        *,
        n_steps: int,
        hold: Hold,
        governed: GovernedTable | None = None,
        max_power_w: float | None = None,
        accept: Callable[[Layout], None] = lambda _: None,
    ) -> EdgeSplitEnv:
        """Make the environment; arguments as of `envs.live.make.make_live`.

        Raises:
            EnvError: the scenario.
            HardwareError: the board.
            PartitionError: the model, the cloud, or the address to listen on.
        """
        return make_live(
            self.board,
            device,
            model,
            self.scenario,
            cloud=self.cloud,
            security=self.security,
            listen=self.listen,
            n_steps=n_steps,
            max_power_w=max_power_w,
            accept=accept,
            hold=hold,
            governed=governed,
            providers=self.providers,
        )

    def forecast(self, n_compared: int) -> str:
        """How long it will take, in one line.

        Args:
            n_compared: control steps after those that are learned from.
        """
        hours = (self.n_steps + n_compared) * STEP_S / 3600.0
        return (
            f"learning on board {self.board}: {self.n_steps:,} control steps of {STEP_S:g} s and "
            f"{n_compared:,} to compare, about {hours:.2g} h"
        )
