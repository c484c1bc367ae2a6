"""A plan on a live model: freezing, parameter groups, the optimizer."""

from freezeplan.apply.freezing import apply_freeze, set_modes
from freezeplan.apply.groups import build_optimizer, first_rate, parameter_groups

__all__ = ["apply_freeze", "build_optimizer", "first_rate", "parameter_groups", "set_modes"]
