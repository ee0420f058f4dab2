"""Fits of device models to measurements; the only part of `hw` that needs scipy."""

from __future__ import annotations

from common import extras

extras.require("a fit of device models", "scipy", "tomli_w")
