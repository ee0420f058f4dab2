"""Roles of clocks: what each drives, by the names that boards and releases give it."""

from __future__ import annotations

DEVFREQ_ROLES = {
    "gpu": ("gpu", "gv11b", "gp10b", "ga10b", "gb10b", "gm20b", "mali", "kgsl-3d", "panfrost"),
    "npu": ("npu",),
    "emc": ("emc", "dmc", "memory-controller", "bwmgr"),
}


def role_in(name: str) -> str | None:
    """The role that a name shows: "gpu", "npu", "emc", or None for anything else."""
    lowered = name.lower()
    for role, words in DEVFREQ_ROLES.items():
        if any(word in lowered for word in words):
            return role
    return None


def role_of(domain: str) -> str:
    """The role of a clock domain: "cpu" for every cluster, "gpu" for "gpu-gpc-0" and so on."""
    return "cpu" if domain.startswith("cpu") else role_in(domain) or domain
