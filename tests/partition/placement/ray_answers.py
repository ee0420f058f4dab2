"""Actors without Ray: what they answer is there already, or never comes."""

from __future__ import annotations

import ray


class Answer:
    """What a method of an actor answers.

    Args:
        value: None, which never comes, or an error, which is raised.
    """

    def __init__(self, value=None):
        self.value = value

    def remote(self):
        return self


def without_ray(monkeypatch):
    """Let Ray wait for answers and get them without any cluster."""
    monkeypatch.setattr(ray, "wait", _wait)
    monkeypatch.setattr(ray, "get", _get)


def _wait(answers, **_):
    return [answer for answer in answers if answer.value is not None], []


def _get(answer):
    if isinstance(answer.value, Exception):
        raise answer.value
    return answer.value
