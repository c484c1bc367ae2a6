"""A declarative compiler for fine-tuning plans.

A spec names module paths, states and learning rates; freezeplan proves that it accounts for every
parameter of a model, shows the plan, and emits PyTorch parameter groups. Importing this package does
not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freezeplan.api import (
        apply_freeze,
        before_wrapping,
        build_optimizer,
        build_param_groups,
        compile_plan,
        enter_phase,
        load_plan,
        load_run,
        load_spec,
        release,
        resume_from_checkpoint,
        verify,
    )
    from freezeplan.diagnostics import Diagnostic, DiagnosticError
    from freezeplan.inventory.records import Inventory
    from freezeplan.plan.records import Plan
    from freezeplan.spec.tables import Spec

__version__ = "0.1.0"

_HOMES = {
    "Diagnostic": "freezeplan.diagnostics",
    "DiagnosticError": "freezeplan.diagnostics",
    "Inventory": "freezeplan.inventory.records",
    "Plan": "freezeplan.plan.records",
    "Spec": "freezeplan.spec.tables",
    "apply_freeze": "freezeplan.api",
    "build_optimizer": "freezeplan.api",
    "before_wrapping": "freezeplan.api",
    "build_param_groups": "freezeplan.api",
    "compile_plan": "freezeplan.api",
    "enter_phase": "freezeplan.api",
    "load_plan": "freezeplan.api",
    "load_run": "freezeplan.api",
    "load_spec": "freezeplan.api",
    "release": "freezeplan.api",
    "resume_from_checkpoint": "freezeplan.api",
    "verify": "freezeplan.api",
}

__all__ = [
    "Diagnostic",
    "DiagnosticError",
    "Inventory",
    "Plan",
    "Spec",
    "apply_freeze",
    "before_wrapping",
    "build_optimizer",
    "build_param_groups",
    "compile_plan",
    "enter_phase",
    "load_plan",
    "load_run",
    "load_spec",
    "release",
    "resume_from_checkpoint",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its room on first use, so that importing the package stays instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'freezeplan' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names, loaded or not, for those who look and for completion."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
