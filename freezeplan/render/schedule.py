"""The words for time in a plan: how long a phase is, and how the rates change over the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from freezeplan.diagnostics.wording import counted, format_count, format_number
from freezeplan.plan.records import Length, Phase, Plan, Weights
from freezeplan.render.written import format_options
from freezeplan.tasks import falls

Fact = tuple[str, str]


def length_text(length: Length) -> str:
    """Say how long a phase is.

    >>> length_text(Length("epochs", 2)), length_text(Length("until", 5, "topic/accuracy", patience=2))
    ('2 epochs', 'until topic/accuracy (patience 2), at most 5 epochs')
    """
    if length.unit == "moving":
        return f"until lower layers settle, at most {counted(length.count, 'epoch')}"
    if length.unit != "until":
        best = f", the best by {length.metric} restored" if length.restore_best else ""
        return counted(length.count, length.unit.removesuffix("s")) + best
    conditions = [length.mode] if length.mode else []
    if length.target is not None:
        at_most = length.mode == "min" if length.mode else falls(length.metric or "")
        sign = "<=" if at_most else ">="
        conditions.append(f"{sign} {format_number(length.target)}")
    if length.patience is not None:
        conditions.append(f"patience {length.patience}")
    best = ", best restored" if length.restore_best else ""
    epochs = counted(length.count, "epoch")
    return f"until {length.metric} ({', '.join(conditions)}), at most {epochs}{best}"


def warmup_text(warmup: int | float) -> str:
    """Write a warm-up: a number of steps or a share of all.

    >>> warmup_text(100), warmup_text(0.06)
    ('100 steps', '6 %')
    """
    return f"{100 * warmup:g} %" if isinstance(warmup, float) else counted(warmup, "step")


def schedule_text(phase: Phase) -> str:
    """Name the schedule of a phase with its warm-up and options: ``linear, warm-up 6 %``."""
    plan = phase.schedule
    warmup = f", warm-up {warmup_text(plan.warmup)}" if plan.warmup else ""
    options = f", {format_options(plan.options)}" if plan.options else ""
    return f"{plan.name}{warmup}{options}"


def schedule_facts(plan: Plan) -> Iterator[Fact]:
    """Yield the schedules of a plan with the phases they run over, and where the run may end early."""
    spans: dict[str, list[str]] = {}
    for stretch, members in groupby(enumerate(plan.phases, 1), key=lambda pair: pair[1].schedule.stretch):
        numbers = [number for number, _ in members]
        spans.setdefault(schedule_text(plan.phases[stretch]), []).append(span(numbers))
    for text, found in spans.items():
        whole = len(spans) == 1 and len(found) == 1
        several = f"again in each of the phases {_joined(found)}"
        over = f"over {'phases' if '-' in found[0] else 'phase'} {found[0]}" if len(found) == 1 else several
        yield "schedule", text if whole else f"{text}, {over}"
    if plan.freeze_when:
        yield "freezes", freezing_text(plan)
    if plan.score:
        yield "score", score_text(plan.score)
    if plan.stop_when:
        yield "stops when", f"{plan.stop_when.metric} >= {format_number(plan.stop_when.at_least)}"


def freezing_text(plan: Plan) -> str:
    """Say by whose rule more layers freeze after an epoch, and the least and the most that train in the end."""
    rule, most, least = plan.freeze_when, plan.phases[0].trainable_numel, plan.phases[-1].trainable_numel
    assert rule is not None
    span_text = f"between {format_count(least)} and {format_count(most)} of {format_count(plan.numel)}"
    egeria = rule.tolerance is not None
    number = f"tolerance {rule.tolerance:g}" if egeria else f"{rule.percentile:g}th percentile"
    return f"after an epoch, by {rule.rule} ({number}): {span_text} parameters train in the last"


def score_text(weights: Weights) -> str:
    """Say what a score is the mean of.

    >>> score_text((("topic/accuracy", 1.0), ("tone/pearson", 0.5)))
    'weighted mean of topic/accuracy (1), tone/pearson (0.5)'
    """
    if len({weight for _, weight in weights}) == 1 and weights[0][1] > 0:
        return f"mean of {', '.join(metric for metric, _ in weights)}"
    return f"weighted mean of {', '.join(f'{name} ({format_number(weight)})' for name, weight in weights)}"


def _joined(spans: Sequence[str]) -> str:
    """Join the spans of phases, a row of single ones as one: ``1-8``, ``1-3, 4``."""
    numbers = [int(text) for text in spans if text.isdecimal()]
    row = len(numbers) == len(spans) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1
    return span(numbers) if row else ", ".join(spans)


def span(numbers: Sequence[int]) -> str:
    """Write consecutive numbers as their first and last.

    >>> span([2]), span([2, 3, 4])
    ('2', '2-4')
    """
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
