"""An environment of spaces alone, where something asks for one that is never stepped."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium import spaces


class SpaceEnv(gymnasium.Env[Any, Any]):
    """Has spaces, and no steps."""

    def __init__(
        self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
    ) -> None:
        """Keep the spaces."""
        self.observation_space, self.action_space = observation_space, action_space
