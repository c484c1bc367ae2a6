"""The key paths of a spec that findings about its model point at."""

from __future__ import annotations

from freezeplan.spec.locations import KeyPath

SOURCE: KeyPath = ("model", "source")
ARCHITECTURE: KeyPath = ("model", "architecture")
CONFIG: KeyPath = ("model", "config")
CLASS: KeyPath = ("model", "class")
AUTOFREEZE, EGERIA = "autofreeze", "egeria"
OF_FREEZE_RULE = {"tolerance": EGERIA, "percentile": AUTOFREEZE}
"""Keys of ``[freeze_when]`` that one of its rules alone reads."""
