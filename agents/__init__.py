"""Deciders: learned policies, their frozen form for boards, baselines, and their evaluation."""
