"""Makers of everything in `results/`, and the pinned values that no refactoring may change."""

from __future__ import annotations

from common import command

if command.is_started_from(__name__):
    command.begin()
