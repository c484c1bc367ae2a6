"""Whether an optimizer from elsewhere follows the rates of its groups: two small groups are stepped once, and seen."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

from freezeplan.apply.elsewhere import constructed
from freezeplan.apply.optimizer_state import drop_state, restart_counters
from freezeplan.diagnostics import DiagnosticError
from freezeplan.plan.records import Plan, PlannedOptimizer
from freezeplan.spec.locations import error_at_key

if TYPE_CHECKING:
    pass

LOG = logging.getLogger("freezeplan")
LESS = 0.1
FIRST, STEPS = 2, 3
"""The first steps are not measured: some optimizers project the weights in theirs."""
WAIT = 20
TWICE, SAME = 2.0, 1.05
ROOT = 4.0
"""The length of a small tensor of ones: an update as large as the rate is so long."""


def check_follows(planned: PlannedOptimizer, plan: Plan) -> None:
    """Step an optimizer from elsewhere over two small tensors, and refuse one that does not follow the plan's rates.

    Some (RAdam of torch_optimizer, Prodigy, D-Adaptation) take one rate for all groups: the plan's others would never
    be used. Where the plan has several rates, the second of two groups is given a tenth of the rate of the first; its
    update must become smaller, and that of the first stay. Raises :class:`freezeplan.DiagnosticError` (FP422). An
    update that is not about a tenth is a warning. Where something thaws, another is logged about one whose first
    update of a group that thaws late is more than twice its rate, and that of a new optimizer: it counts steps where
    it cannot be told to begin anew. One that cannot be stepped so (it asks for a closure) is not judged.
    """
    rates = {rate for group in plan.groups if group.optimizer == planned.label for rate in group.lr if rate}
    with contextlib.suppress(_Unable):
        if len(rates) > 1:
            _check_rates(planned)
        if any(phase.thawed for phase in plan.phases[1:]):
            _check_late_start(planned)


class _Unable(Exception):
    """The optimizer cannot be stepped over two small tensors."""


class _Pair:
    """Two equal tensors in two groups of a new optimizer, which get equal gradients."""

    def __init__(self, planned: PlannedOptimizer) -> None:
        import torch

        self.tensors = [torch.nn.Parameter(torch.linspace(0.005, 0.015, 16).reshape(4, 4)) for _ in range(2)]
        groups = [
            {"params": [tensor], "name": str(at), "lr": planned.lr} for at, tensor in enumerate(self.tensors)
        ]
        self.optimizer = constructed(planned, groups)
        for group in self.optimizer.param_groups:
            group.update({"weight_decay": 0.0} if "weight_decay" in group else {})
        if callable(getattr(self.optimizer, "train", None)):
            self.optimizer.train()  # type: ignore[attr-defined]

    def moved(self, steps: int, *, which: tuple[bool, bool] = (True, True)) -> list[float]:
        """Return how far each tensor moves over some steps in which the chosen ones have gradients."""
        import torch

        torch.manual_seed(0)
        before = [tensor.detach().clone() for tensor in self.tensors]
        for _ in range(steps):
            for tensor, chosen in zip(self.tensors, which, strict=True):
                tensor.grad = torch.linspace(0.2, 1.0, 16).reshape(4, 4) if chosen else None
            self.optimizer.step()
        pairs = zip(self.tensors, before, strict=True)
        return [float((tensor.detach() - old).norm()) for tensor, old in pairs]


def _pair(planned: PlannedOptimizer) -> _Pair:
    try:
        return _Pair(planned)
    except Exception as error:
        raise _Unable from error


def _check_rates(planned: PlannedOptimizer) -> None:
    with _undisturbed():
        alike, apart = _pair(planned), _pair(planned)
        try:
            alike.moved(FIRST)
            plain = alike.moved(STEPS)
        except Exception as error:
            raise _Unable from error
        apart.optimizer.param_groups[1]["lr"] = planned.lr * LESS
        try:
            apart.moved(FIRST)
            found = apart.moved(STEPS)
        except Exception as error:
            raise _shared(planned, str(error)) from error
    if not all(plain):
        return
    first, second = (now / before for now, before in zip(found, plain, strict=True))
    if not (1 / TWICE < first < TWICE and second < 1 / SAME):
        raise _shared(planned, f"with a tenth of its rate a group takes {second:.2g} of its step")
    if not LESS / TWICE < second < LESS * TWICE:
        LOG.warning(
            "%s does not follow the ratios of rates: with a tenth of its rate a group takes %.2g of its step",
            planned.kind,
            second,
        )


def _check_late_start(planned: PlannedOptimizer) -> None:
    with _undisturbed():
        late, new = _pair(planned), _pair(planned)
        try:
            late.moved(WAIT, which=(True, False))
            drop_state(late.optimizer, late.tensors[1:])
            restart_counters(late.optimizer.param_groups[1], late.optimizer)
            after, plain = late.moved(1)[1], new.moved(1)[1]
        except Exception as error:
            raise _Unable from error
    # One that finds its rate as it goes (Prodigy) begins with tiny steps: what is no larger than the rate is no leap.
    leap = TWICE * max(plain, planned.lr * ROOT)
    if plain and after > leap:
        LOG.warning(
            "%s counts its steps for all groups: the first update of what thaws after %d steps is %.1f times that of a "
            "new optimizer",
            planned.kind,
            WAIT,
            after / plain,
        )


@contextlib.contextmanager
def _undisturbed() -> Any:
    """Leave random numbers as they are, and let the optimizers print and warn to nobody."""
    import torch

    hidden = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(hidden),
        contextlib.redirect_stderr(hidden),
        torch.random.fork_rng(devices=[]),
    ):
        warnings.simplefilter("ignore")
        yield


def _shared(planned: PlannedOptimizer, why: str) -> DiagnosticError:
    message = f"{planned.kind} does not follow several rates, and this plan has several: {why}"
    advice = "give all groups one rate (no `lr_mult`, no `layer_decay`), or use another optimizer"
    return error_at_key((*planned.path, "class"), "FP422", message, help=advice)
