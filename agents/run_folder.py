"""What `train.py` leaves behind, as `deploy.py` needs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from agents.errors import RunFolderError
from agents.policy import FrozenPolicy


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A finished training run.

    Attributes:
        path: the folder.
        device: modelled device that the policy was trained on.
        model: network that it was trained with.
        policy: frozen.
    """

    path: Path
    device: str
    model: str
    policy: FrozenPolicy

    @classmethod
    def load(cls, path: Path) -> RunFolder:
        """Read a run folder.

        Raises:
            RunFolderError: missing, or its `config.json` is damaged.
            PolicyError: it holds no policy, or a damaged one.
        """
        if not path.is_dir():
            raise RunFolderError(f"{path} is no folder; give one that train.py wrote")
        config = path / "config.json"
        try:
            document = json.loads(config.read_text(encoding="utf-8"))
            device, model = document["device"], document["model"]
        except FileNotFoundError:
            raise RunFolderError(f"{config} does not exist; give a run of train.py") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunFolderError(f"{config} is damaged ({error!r}); train again") from None
        return cls(path, str(device), str(model), FrozenPolicy.load(path / "policy"))
