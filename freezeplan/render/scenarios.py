"""The names of the scenarios that a new spec can be written for."""

from __future__ import annotations

SCENARIOS = (
    "backbone-frozen",
    "top-layers",
    "lower-half-frozen",
    "llrd",
    "bitfit",
    "norms-only",
    "embeddings-frozen",
    "gradual",
)
