"""Optimizers from elsewhere: found by module and class, and nothing that the plan sets goes unused."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import freezeplan
from freezeplan.apply import build_optimizer
from freezeplan.diagnostics import DiagnosticError
from freezeplan.spec.foreign_code import no_remote_code

RULES = [
    {"name": "all", "match": "**", "state": "trainable"},
    {"name": "head", "match": "1", "lr_mult": 10.0},
]


class Sign(torch.optim.Optimizer):
    """Step by the sign of a running average, as Lion does; it looks at its parameters before torch does."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        hidden: float = 1.0,
    ) -> None:
        if not all(torch.is_tensor(tensor) for group in params for tensor in group["params"]):
            raise TypeError("tensors, please")
        if not betas[0] < 1:
            raise ValueError("betas are below 1")
        self.hidden = hidden
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Take a step."""
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is not None:
                    tensor.mul_(1 - group["lr"] * group["weight_decay"])
                    tensor.sub_(group["lr"] * tensor.grad.sign())


class Bare(torch.optim.Optimizer):
    """Know no weight decay."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    step = Sign.step


@pytest.fixture(autouse=True)
def _package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with a module of optimizers."""
    package, module = types.ModuleType("signs"), types.ModuleType("signs.plain")
    package.__path__ = []
    module.Sign, module.Bare, module.step = Sign, Bare, Sign.step
    monkeypatch.setitem(sys.modules, "signs", package)
    monkeypatch.setitem(sys.modules, "signs.plain", module)
    yield


def built(rules: list[dict[str, Any]] = RULES, **table: Any) -> torch.optim.Optimizer:
    """Return the optimizer of a table over two layers."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    spec = {"optimizer": {"class": "signs.plain:Sign", "lr": 0.01, **table}, "rule": rules}
    return build_optimizer(model, freezeplan.compile_plan(model, spec))


def test_it_is_built_over_named_groups_with_defaults_of_its_own() -> None:
    optimizer = built()
    assert type(optimizer) is Sign
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.99)}
    found = {name: group["lr"] for group in optimizer.param_groups for name in group["param_names"]}
    assert found == {"0.weight": 0.01, "0.bias": 0.01, "1.weight": 0.1, "1.bias": 0.1}


def test_options_go_to_the_constructor_and_rules_to_their_groups() -> None:
    rules = [*RULES[:1], {**RULES[1], "betas": [0.5, 0.6]}]
    optimizer = built(rules, options={"betas": [0.8, 0.9], "hidden": 2.0})
    assert optimizer.hidden == 2.0
    found = {group["name"]: group["betas"] for group in optimizer.param_groups}
    assert found["all"] == (0.8, 0.9) and found["head"] == (0.5, 0.6)


WRONG = {
    "no package": ({"class": "sings.plain:Sign"}, "FP421", "class", "package `sings` is not installed"),
    "no module": ({"class": "signs.odd:Sign"}, "FP421", "class", "there is no module `signs.odd`"),
    "no class": ({"class": "signs.plain:Sing"}, "FP421", "class", "module `signs.plain` has no class `Sing`"),
    "no optimizer": ({"class": "signs.plain:step"}, "FP421", "class", "`signs.plain:step` is no optimizer"),
    "no argument": ({"options": {"hiden": 1.0}}, "FP422", "options.hiden", "Sign takes no `hiden`"),
    "refused": ({"options": {"betas": [2.0, 0.9]}}, "FP422", "class", "betas are below 1"),
    "no option": ({"momentum": 0.9}, "FP422", "momentum", "Sign has no `momentum` in its groups"),
    "no decay": ({"class": "signs.plain:Bare"}, "FP422", "weight_decay", "Bare has no weight decay"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_class_that_cannot_be_had_is_refused(what: str) -> None:
    table, code, key, message = WRONG[what]
    with pytest.raises(DiagnosticError) as caught:
        built(**table)
    (item,) = caught.value.diagnostics
    assert (item.code, item.where) == (code, f"optimizer.{key}")
    assert message in item.message


def test_one_without_weight_decay_is_built_where_the_plan_has_none() -> None:
    assert type(built(**{"class": "signs.plain:Bare"}, weight_decay=0.0)) is Bare


def test_a_module_that_fails_is_no_traceback(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_signs.py").write_text("import not_there_at_all", "utf-8")
    (tmp_path / "raising_signs.py").write_text("raise RuntimeError('no such device')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for module, said in (("failing", "needs `not_there_at_all`"), ("raising", "no such device")):
        with pytest.raises(DiagnosticError, match=said):
            built(**{"class": f"{module}_signs:Sign"})


def test_it_is_not_imported_before_it_is_built(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "telling_signs.py").write_text("raise SystemExit('imported')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    spec = {"optimizer": {"class": "telling_signs:Sign"}, "rule": RULES}
    plan = freezeplan.compile_plan(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), spec)
    assert plan.optimizers[0].is_foreign and "telling_signs" not in sys.modules


def test_it_is_not_imported_where_code_from_elsewhere_is_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with no_remote_code(), pytest.raises(DiagnosticError, match="switched off here"):
        built()
    monkeypatch.setenv("FREEZEPLAN_REMOTE_CODE", "off")
    with pytest.raises(DiagnosticError, match="switched off here"):
        built()
