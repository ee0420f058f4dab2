"""Models that somebody saved with Stable-Baselines3, frozen: any whose policy is an `MlpPolicy`.

Such a file holds pickles: to read it runs whatever code is in it, so that only one's own is read.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import nn

from agents.errors import PolicyError
from agents.learning.export import freeze, read_layers
from agents.learning.space_env import SpaceEnv
from agents.policy.frozen import FrozenPolicy
from agents.policy.metadata import PolicyMetadata
from agents.policy.normaliser import Normaliser
from common.regular_file import open_regular
from envs.listed_actions import thinned_table
from envs.plant import Indices, Layout
from envs.spaces import observation_fields

_ALGORITHMS = "PPO, A2C, SAC, TD3, DDPG and DQN"


def freeze_model(
    path: Path,
    layout: Layout,
    *,
    normalise: Path | None = None,
    actions: Indices | None = None,
) -> FrozenPolicy:
    """Freeze a model of Stable-Baselines3; the pickles in its files are run.

    Args:
        path: the .zip that `model.save` wrote.
        layout: of the plant that it was trained on, `env.unwrapped.plant.layout`.
        normalise: what `VecNormalize.save` wrote, if observations were normalised.
        actions: whole actions by number for `Discrete` spaces, shape (k, n_axes); those of
            `envs.listed_actions.ListedActions` if not given.

    Raises:
        PolicyError: a file that cannot be read, a policy that cannot be frozen, or one for other
            observations or actions.
    """
    policy = _load(path)
    fields = observation_fields(layout)
    if policy.observation_space.shape != (len(fields),):
        raise PolicyError(
            f"{path} was trained on observations of shape {policy.observation_space.shape}, this "
            f"environment's have ({len(fields)},): give the --device it was trained with, and no "
            f"wrapper that changes observations"
        )
    head, table = _head(path, policy, layout, actions)
    normaliser = _statistics(normalise, policy) if normalise else None
    layers, activation = _layers(path, policy)
    metadata = PolicyMetadata(
        algorithm=path.stem,
        layout=layout,
        fields=fields,
        activation=activation,
        head=head,
        table=tuple(map(tuple, table)),
    )
    return freeze(_Normalised(policy, normaliser), metadata, layers, activation, normaliser)


def _load(path: Path) -> BasePolicy:
    """Build the policy of a model without its algorithm."""
    if not path.is_file():
        raise PolicyError(f"{path} does not exist; give a .zip that model.save of SB3 wrote")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts that are not needed here
            data, parameters, _ = load_from_zip_file(path, device="cpu")
        stored: dict[str, Any] = data or {}
        kind = stored["policy_class"]
        known = (ActorCriticPolicy, SACPolicy, TD3Policy, DQNPolicy)
        if kind not in known:
            raise PolicyError(
                f"{path} has a policy of class {kind.__name__}; only an MlpPolicy of {_ALGORITHMS} "
                f"can be frozen"
            )
        settings = dict(stored["policy_kwargs"])
        if kind is ActorCriticPolicy:
            settings["use_sde"] = stored.get("use_sde", False)
        policy: BasePolicy = kind(
            stored["observation_space"], stored["action_space"], lambda _: 0.0, **settings
        )
        weights: Any = parameters["policy"]
        policy.load_state_dict(weights)
    except PolicyError:
        raise
    except Exception as error:  # whatever a file of another kind or version ends in
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise PolicyError(
            f"{path} cannot be read as a model of Stable-Baselines3 ({reason}); save it with "
            f"model.save of {_ALGORITHMS} in the version installed here"
        ) from None
    policy.set_training_mode(False)
    return policy


def _head(
    path: Path, policy: BasePolicy, layout: Layout, actions: Indices | None
) -> tuple[str, list[list[int]]]:
    """How outputs make an action, and the listed actions."""
    space, sizes = policy.action_space, [len(axis.values) for axis in layout.axes]
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.tolist() == sizes:
        return "categorical", []
    if isinstance(space, spaces.Box):
        expected = spaces.Box(-1.0, 1.0, (len(sizes),), np.float32)
        if space == expected:
            squashes = isinstance(policy, SACPolicy | TD3Policy)
            return "box" if squashes else "clipped-box", []
    if isinstance(space, spaces.Discrete):
        table = thinned_table(layout) if actions is None else actions
        if len(table) == space.n and space.start == 0:
            return "table", table.tolist()
        raise PolicyError(
            f"{path} chooses among {space.n} actions, {len(table)} are listed: give --actions, an "
            f".npy of {space.n} rows with an index per axis ({len(sizes)} columns)"
        )
    axes = ", ".join(f"{axis.name} {size}" for axis, size in zip(layout.axes, sizes, strict=True))
    raise PolicyError(
        f"{path} was trained for the actions {space}, this environment has the axes {axes}: give "
        f"the --device and --model it was trained with"
    )


def _layers(path: Path, policy: Any) -> tuple[Any, str]:
    """Layers from the observation to what the head reads, and the activation between them."""
    if isinstance(policy, ActorCriticPolicy):
        extractor = policy.pi_features_extractor
        modules = [*policy.mlp_extractor.policy_net, policy.action_net]
    elif isinstance(policy, DQNPolicy):
        extractor, modules = policy.q_net.features_extractor, [*policy.q_net.q_net]
    elif isinstance(policy, SACPolicy):
        extractor = policy.actor.features_extractor
        modules = [*policy.actor.latent_pi, policy.actor.mu]
    else:
        extractor, modules = policy.actor.features_extractor, [*policy.actor.mu][:-1]  # its tanh
    if not isinstance(extractor, FlattenExtractor):
        raise PolicyError(
            f"{path} has a features extractor {type(extractor).__name__}, which cannot be frozen; "
            f"train an MlpPolicy without one"
        )
    return read_layers([m for m in modules if not isinstance(m, nn.Flatten)])


def _statistics(path: Path, policy: BasePolicy) -> Normaliser | None:
    """Statistics of the observations; None if only rewards were normalised."""
    spaces_alone = DummyVecEnv([lambda: SpaceEnv(policy.observation_space, policy.action_space)])
    try:
        open_regular(path).close()
        found = VecNormalize.load(str(path), spaces_alone)
        if not found.norm_obs:
            return None
        statistics: Any = found.obs_rms
        sd = np.sqrt(np.asarray(statistics.var, np.float64) + found.epsilon)
        return Normaliser(np.asarray(statistics.mean, np.float64), sd, float(found.clip_obs))
    except Exception as error:  # whatever a pickle of another kind ends in
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise PolicyError(
            f"{path} cannot be read as statistics of VecNormalize ({reason}); give what its save "
            f"wrote for this model"
        ) from None


@dataclass(frozen=True, slots=True)
class _Normalised:
    """A policy behind the statistics that it was trained with."""

    policy: BasePolicy
    normaliser: Normaliser | None

    def predict(self, observation: NDArray[np.float32], *, deterministic: bool) -> tuple[Any, Any]:
        """Choose as the model does in its own environment."""
        seen = self.normaliser(observation) if self.normaliser else observation
        return self.policy.predict(seen, deterministic=deterministic)
