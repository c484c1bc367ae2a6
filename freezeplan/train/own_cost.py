"""What a run was to cost, predicted from what its own folder holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from freezeplan.cost.estimating import estimate_cost
from freezeplan.models.run_record import file_of, home_of
from freezeplan.plan.records import Plan
from freezeplan.spec.reading import load_spec
from freezeplan.train.own_source import SPEC, own_spec


def own_cost(folder: Path, plan: Plan) -> Mapping[str, Any]:
    """Return the record of what a run was to cost, from its own spec and the model in its own folder."""
    home, _ = home_of(folder)
    spec = own_spec(load_spec(file_of(home, SPEC)), home)
    return estimate_cost(spec, plan).to_record()
