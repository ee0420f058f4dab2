"""Deciders: learned policies, their frozen form for boards, baselines, and their evaluation."""

from __future__ import annotations

from common import command

if command.is_started_from(__name__):
    command.begin()
