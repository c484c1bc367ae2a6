"""Ask for the largest batch that fits, of four models and two budgets each, and measure whether it does.

``python -m benchmarks.fitting [--model NAME] [--json FILE]`` prints the batch that ``show --fit`` chooses, its
predicted peak, and the peak that a process measures with it and with one row more, all in MiB. An answer is right where
the chosen batch's measured peak is at most two percent above the budget, and one row more is predicted, and measured,
to need more than the budget. Half of each backbone is frozen; how peaks are measured is what
:mod:`benchmarks.predicted_peak` says. Linux only.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.predicted_peak import FAITHFUL, LENGTH, MODELS, Case, measure_apart

MIB = 1 << 20
BUDGETS = {
    "MiniLM": (384, 512),
    "DistilBERT-shape": (640, 768),
    "ViT": (1024, 1152),
    "Qwen3-tiny": (384, 512),
}
"""Budgets of each model, in MiB."""
SLACK = 0.02
"""How much of a budget the scratch space of libraries may take on top, which no tensor holds."""


@dataclass(frozen=True)
class Fitted:
    """Hold one answer in bytes: the budget, the batch, and the peaks of it and of one row more."""

    model: str
    budget: int
    rows: int
    predicted: int
    measured: int
    beyond_predicted: int
    beyond_measured: int

    @property
    def holds(self) -> bool:
        """Whether the batch fits, and one row more does not, by both."""
        fits = self.measured <= self.budget * (1 + SLACK)
        return fits and min(self.beyond_predicted, self.beyond_measured) > self.budget


def fitted(model: str, budget: int) -> Fitted:
    """Ask for a batch, and measure it and one row more, each in a process of its own."""
    from freezeplan.cost.estimating import estimate_cost
    from freezeplan.cost.fitting import fit_batches
    from freezeplan.models.sources import inventory_for
    from freezeplan.plan import compile_plan

    case = Case(model, "half", 1)
    spec = case.spec()
    plan = compile_plan(inventory_for(spec), spec)
    (phase,) = fit_batches(spec, plan, budget, LENGTH if model != "ViT" else None).phases
    assert phase.rows is not None
    weights = estimate_cost(spec, plan).phases[0].memory.weights
    peaks = [
        weights + measure_apart(replace(case, batch_size=rows), FAITHFUL)[0]
        for rows in (phase.rows, phase.rows + 1)
    ]
    return Fitted(model, budget, phase.rows, phase.peak, peaks[0], phase.beyond, peaks[1])


def line(item: Fitted) -> str:
    """Return the line of one answer."""
    sizes = (item.budget, item.predicted, item.measured, item.beyond_predicted, item.beyond_measured)
    cells = "".join(f"{size / MIB:11.1f}" for size in sizes)
    return f"{item.model:18}{item.rows:6}{cells}{item.predicted / item.measured:8.3f}  {'yes' if item.holds else 'NO'}"


def main() -> None:
    """Read the command line and print the table; the exit status says whether every row is right."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fitting")
    parser.add_argument("--model", choices=MODELS, action="append", help="only this model; repeatable")
    parser.add_argument("--json", type=Path, help="also write the numbers to a file")
    asked = parser.parse_args()
    head = "".join(f"{name:>11}" for name in ("budget", "predicted", "measured", "+1 pred.", "+1 meas."))
    print(f"{'model':18}{'batch':>6}{head}{'ratio':>8}  right   (MiB)", flush=True)
    found = []
    for model in asked.model or list(MODELS):
        for budget in BUDGETS[model]:
            found.append(fitted(model, budget * MIB))
            print(line(found[-1]), flush=True)
    wrong = sum(not item.holds for item in found)
    print(f"{len(found) - wrong} of {len(found)} right")
    if asked.json:
        asked.json.write_text(json.dumps([asdict(item) for item in found], indent=1))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
