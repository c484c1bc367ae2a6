"""The loop: batches go to their task's head, gradients add up bit for bit, rates come from the plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from freezeplan.apply import build_optimizer
from freezeplan.diagnostics import DiagnosticError
from freezeplan.runs.events import Event, StepDone
from freezeplan.runs.gradients import GradientWatch
from freezeplan.runs.metrics_log import MetricsLog
from freezeplan.tasks.classification import Classification
from freezeplan.train.batches import Part
from freezeplan.train.forward import Forward
from freezeplan.train.loop import Loop
from freezeplan.train.setup import Setup, prepare
from tests.train.tiny import toy_data, toy_spec

EVERYTHING = [{"match": "**", "state": "trainable"}, {"match": "backbone.pooler", "state": "frozen"}]


def make_loop(setup: Setup, events: list[Event] | None = None) -> Loop:
    (scheduled,) = setup.phases
    assert scheduled.course is not None
    return Loop(
        plan=setup.plan,
        forward=Forward(setup.model, setup.encoder, setup.device),
        optimizer=build_optimizer(setup.model, setup.plan),
        strategy=setup.strategy,
        data=setup.data["train"],
        weights={task.name: task.weight for task in setup.spec.task},
        scheduled=scheduled,
        course=scheduled.course,
        steps=setup.steps,
        clip_norm=setup.spec.train.clip_norm,
        watch=GradientWatch(setup.plan.names(trainable=True)),
        log=MetricsLog(),
        observer=(events if events is not None else []).append,
    )


def loop_of(toy: Path, events: list[Event] | None = None, weight: float = 1.0, **train: Any) -> Loop:
    tasks = [
        {"name": "topic", "data": toy_data(toy, "topic"), "weight": weight},
        {"name": "mood", "data": toy_data(toy, "mood")},
    ]
    spec = toy_spec(toy, rule=EVERYTHING, task=tasks, train={"epochs": 2, "batch_size": 16} | train)
    return make_loop(prepare(spec), events)


def run_epoch(loop: Loop) -> dict[str, float]:
    losses = loop.run_epoch()
    loop.position.complete_epoch({})
    return losses


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plain_loss(loop: Loop, part: Part) -> torch.Tensor:
    split = loop.data[part.task]
    batch = loop.forward.encoder.batch(split.inputs, part.rows, torch.device("cpu"))
    truth = torch.tensor([split.targets[row] for row in part.rows])
    return cross_entropy(loop.model(task=part.task, **batch), truth, reduction="none").sum() / len(truth)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_a_joint_step_has_the_gradients_of_the_summed_loss_bit_for_bit(toy: Path, weight: float) -> None:
    loop = loop_of(toy, mixing="joint", weight=weight)
    topic, mood = loop.course.parts(0)
    torch.manual_seed(5)
    (plain_loss(loop, topic) * weight + plain_loss(loop, mood)).backward()
    expected = gradients(loop.model)
    loop.optimizer.zero_grad(set_to_none=True)
    torch.manual_seed(5)
    losses = loop.accumulate_gradients((topic, mood))
    found = gradients(loop.model)
    assert list(losses) == ["topic", "mood"]
    assert found.keys() == expected.keys() and len(found) > 30
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_accumulated_batches_have_the_gradient_of_one_large_batch(toy: Path) -> None:
    loop = loop_of(toy, batch_size=20, accumulation=3)
    loop.model.eval()
    parts = loop.course.parts(2)
    assert [len(part.rows) for part in parts] == [20, 16]
    loop.accumulate_gradients(parts)
    found = gradients(loop.model)
    loop.optimizer.zero_grad(set_to_none=True)
    whole = Part(parts[0].task, tuple(row for part in parts for row in part.rows))
    loop.accumulate_gradients((whole,))
    expected = gradients(loop.model)
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)


@pytest.mark.parametrize("sizes", [(36,), (18, 18), (20, 16), (1, 5, 30), (12, 12, 12)])
def test_a_step_is_the_same_however_its_rows_are_spread_over_batches(
    toy: Path, sizes: tuple[int, ...]
) -> None:
    loop = loop_of(toy)
    loop.model.eval()
    rows = iter(range(36))
    parts = tuple(Part("topic", tuple(next(rows) for _ in range(size))) for size in sizes)
    losses, found = loop.accumulate_gradients(parts), gradients(loop.model)
    loop.optimizer.zero_grad(set_to_none=True)
    expected = plain_loss(loop, Part("topic", tuple(range(36))))
    expected.backward()
    assert float(losses["topic"]) == pytest.approx(expected.item(), rel=1e-6)
    assert loop.terms(parts) == {"topic": 36}
    whole = gradients(loop.model)
    assert found.keys() == whole.keys()
    assert all(torch.allclose(found[name], whole[name], atol=1e-6) for name in whole)


class WithoutTerms(Classification):
    """Ignore every target."""

    def terms(self, targets: Any, rows: Any) -> int:
        return 0

    def losses(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return super().losses(out, target)[:0]


def test_a_step_without_terms_has_the_loss_zero_and_no_gradient(toy: Path) -> None:
    events: list[Event] = []
    loop = loop_of(toy, events, mixing="joint")
    loop.data = {**loop.data, "mood": replace(loop.data["mood"], kind=WithoutTerms())}
    losses = loop.accumulate_gradients(loop.course.parts(0))
    assert float(losses["mood"]) == 0.0 and float(losses["topic"]) > 0.0
    assert not any(name.startswith("heads.mood.") for name in gradients(loop.model))
    epoch = run_epoch(loop)
    assert epoch.keys() == {"topic"}
    assert all(event.losses["mood"] == 0.0 for event in events if isinstance(event, StepDone))


def test_the_loss_of_an_epoch_is_the_mean_over_its_rows(toy: Path) -> None:
    loop = loop_of(toy, batch_size=36, mixing="joint")
    for group in loop.optimizer.param_groups:
        group["lr"] = 0.0
    loop.set_rates = lambda step: {}  # type: ignore[method-assign]
    loop.model.eval()
    loop.model.train = lambda mode=True: loop.model  # type: ignore[method-assign]
    losses = loop.run_epoch()
    for task, split in loop.data.items():
        whole = plain_loss(loop, Part(task, tuple(range(len(split)))))
        assert losses[task] == pytest.approx(float(whole), rel=1e-6)


def test_alternate_steps_touch_one_head_in_turn(toy: Path) -> None:
    loop = loop_of(toy)
    heads = {}
    for number in range(4):
        loop.optimizer.zero_grad(set_to_none=True)
        loop.accumulate_gradients(loop.course.parts(number))
        heads[number] = {name.split(".")[1] for name in gradients(loop.model) if name.startswith("heads.")}
    assert heads == {0: {"topic"}, 1: {"mood"}, 2: {"topic"}, 3: {"mood"}}


@pytest.mark.parametrize(("mixing", "steps"), [("alternate", 24), ("joint", 12)])
def test_step_counts_and_reported_tasks(toy: Path, mixing: str, steps: int) -> None:
    events: list[Event] = []
    loop = loop_of(toy, events, mixing=mixing)
    for _ in range(2):
        assert run_epoch(loop).keys() == {"topic", "mood"}
    done = [event for event in events if isinstance(event, StepDone)]
    assert [event.step for event in done] == list(range(1, steps + 1))
    assert {event.steps for event in done} == {steps}
    assert [event.epoch for event in done] == [1] * (steps // 2) + [2] * (steps // 2)
    expected = ["topic", "mood"] if mixing == "joint" else None
    for number, event in enumerate(done):
        assert list(event.losses) == (expected or [["topic", "mood"][number % 2]])


def test_every_groups_rate_is_reported_and_is_the_plans_times_one_factor(toy: Path) -> None:
    rules = [*EVERYTHING, {"match": "heads", "lr_mult": 10.0}]
    spec = toy_spec(toy, rule=rules, schedule={"name": "cosine", "warmup": 3}, optimizer={"lr": 1e-3})
    events: list[Event] = []
    loop = make_loop(prepare(spec), events)
    run_epoch(loop)
    base = {group.name: group.lr[0] for group in loop.plan.groups}
    assert sorted(set(base.values())) == [1e-3, 1e-2]
    for event in events:
        assert isinstance(event, StepDone) and event.rates.keys() == base.keys()
        factors = [rate / base[name] for name, rate in event.rates.items()]
        assert factors == pytest.approx([factors[0]] * len(factors), rel=1e-12)
    assert [record["rates"] for record in loop.log.records] == [event.rates for event in events]


def test_clipping_bounds_the_norm_of_what_trains(toy: Path) -> None:
    loop = loop_of(toy, clip_norm=1e-3)
    run_epoch(loop)
    trained = [p.grad for p in loop.model.parameters() if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in trained]))
    assert 0 < float(norm) <= 1e-3 * 1.001


def test_a_loss_that_is_not_finite_stops_and_names_task_and_step(toy: Path) -> None:
    loop = loop_of(toy)
    run_epoch(loop)
    with torch.no_grad():
        loop.model.heads["mood"].linear.bias.fill_(float("nan"))
    with pytest.raises(DiagnosticError) as caught:
        run_epoch(loop)
    (found,) = caught.value.diagnostics
    assert (found.code, found.where) == ("FP503", "task[2].name")
    assert "task `mood` is nan at step 14" in found.message


def test_on_an_accelerator_losses_are_read_in_batches_of_steps(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loop, "_report_every", property(lambda self: 5))
    events: list[Event] = []
    loop_of(toy, events).run_epoch()
    assert [event.step for event in events if isinstance(event, StepDone)] == [5, 10, 12]
    assert all(event.losses.keys() == {"topic", "mood"} for event in events if isinstance(event, StepDone))
