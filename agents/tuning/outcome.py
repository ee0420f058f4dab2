"""What a search has found, and how long it will go on."""

from __future__ import annotations

import shlex
from pathlib import Path
from statistics import fmean

from agents.errors import AgentError
from agents.training.run import TrainConfig
from agents.tuning.study_file import PAGE_FILE, Study, Training, shown

N_AGAIN = 3
"""Best trials that are trained again, besides what ships."""
_DEFAULTS = {"device": "tx2", "model": "efficientnet-lite0", "scenario": "all", "hold": "pin"}


def best_trials(study: Study) -> list[Training]:
    """What ships, and the best other trials, cheapest first.

    Raises:
        AgentError: no training came to its end.
    """
    done = [each for each in study.trials if each.state == "done"]
    if not done:
        raise AgentError(
            f"no training came to its end, the first for this: {study.trials[0].reason}; give "
            f"other --hyperparams or more --total-timesteps"
        )
    others = sorted((each for each in done if each.trial > 0), key=_cost)[:N_AGAIN]
    return [each for each in done if each.trial == 0] + others


def time_left_s(study: Study, n_seeds: int) -> float:
    """Time that the rest of a search will take, if it goes on as it has."""
    ended = [each for each in study.trials if each.state != "begun"]
    to_try = study.n_trials - len(ended)
    done_s = [each.cpu_s for each in ended if each.state == "done"]
    n_again = n_seeds * (N_AGAIN + 1)
    n_again -= sum(each.state != "begun" for each in study.trainings) - len(ended)
    longest_s = fmean(done_s) if done_s else 0.0
    return to_try * fmean(each.cpu_s for each in ended) + max(n_again, 0) * longest_s


def last_words(study: Study, folder: Path) -> str:
    """The best settings, how much better than what ships, and the command that takes them."""
    best = best_trials(study)
    means = {each.trial: _mean_of_others(study, each.trial) for each in best}
    found = {trial: cost for trial, cost in means.items() if cost is not None}
    lines = [f"tables are in {folder}: {PAGE_FILE} and tuning.csv"]
    if not found:
        raise AgentError(
            f"no settings came to their end with another seed; see {folder / PAGE_FILE}"
        )
    winner = min(found, key=lambda trial: found[trial])
    seeds = " and ".join(str(each.seed) for each in study.again(winner))
    judged = f"on {study.n_validation_episodes} validation episodes, mean of seeds {seeds}"
    if winner == 0:
        lines.append(f"nothing costs less than what ships, {found[0]:.4f} {judged}")
        return "\n".join(lines)
    against = f"what ships {found[0]:.4f}" if 0 in found else "what ships failed"
    chosen = next(each for each in best if each.trial == winner)
    lines.append(
        f"trial {winner} costs {found[winner]:.4f}, {against}, {judged}; it was chosen on them, "
        f"what it is worth only other episodes can tell"
    )
    lines.append(f"next: {_command(study.config, chosen)}")
    return "\n".join(lines)


def _mean_of_others(study: Study, trial: int) -> float | None:
    """Mean over the seeds that settings were not chosen by; None if one of them failed."""
    costs = [each.cost for each in study.again(trial)]
    known = [cost for cost in costs if cost is not None]
    return fmean(known) if known and len(known) == len(costs) else None


def _command(config: TrainConfig, chosen: Training) -> str:
    words = ["python", "train.py", "--algo", config.algo]
    for name, default in _DEFAULTS.items():
        value = getattr(config, name)
        values = [value] if isinstance(value, str) else list(value)
        if values != [default]:
            words += [f"--{name}", *values]
    if config.total_timesteps is not None:
        words += ["--total-timesteps", str(config.total_timesteps)]
    if config.without:
        words += ["--disable-effect", *config.without]
    if config.blocking:
        words.append("--synchronous")
    settings = {**config.hyperparams, **chosen.settings}
    words += ["--hyperparams", *(f"{name}={_exact(value)}" for name, value in settings.items())]
    return shlex.join(words)


def _exact(value: bool | int | float | str) -> str:
    return repr(value) if isinstance(value, float) else shown(value)


def _cost(training: Training) -> float:
    return float("inf") if training.cost is None else training.cost
