"""A plan on a live model: freezing, parameter groups, the optimizer."""

from freezeplan.apply.freezing import apply_freeze, set_modes
from freezeplan.apply.fusing import fused_option
from freezeplan.apply.groups import build_optimizer, first_rate, parameter_groups
from freezeplan.apply.phases import enter_phase, phase_rates, set_rates
from freezeplan.apply.schedules import schedule_factor, stretch_steps
from freezeplan.apply.verifying import verify

__all__ = [
    "apply_freeze",
    "build_optimizer",
    "enter_phase",
    "first_rate",
    "fused_option",
    "parameter_groups",
    "phase_rates",
    "schedule_factor",
    "set_modes",
    "set_rates",
    "stretch_steps",
    "verify",
]
