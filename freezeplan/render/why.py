"""For one parameter: its final values, and who wanted what, like a browser's style inspector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from freezeplan.diagnostics.wording import counted, format_number, format_rate, format_shape
from freezeplan.plan.records import Assignment
from freezeplan.render.table import GAP, STATE_STYLES, facts_grid
from freezeplan.render.visible import visible
from freezeplan.render.written import format_options, format_toml

if TYPE_CHECKING:
    from freezeplan.plan.why import Touch, Why

# Properties that are written in two ways: the second title is the property both set.
WRITTEN_AS = {"lr_mult": "lr", "weight_decay_mult": "weight_decay"}
TITLES = {"lr": "learning rate", "weight_decay": "weight decay", "eval_mode": "eval mode"}


class WhyView:
    """Render a parameter's final values, then each property with the rules that set it.

    The rule that decided a property comes first; the overruled ones follow struck through, with the
    reason and the place of each, and say ``overruled`` in words so that nothing hangs on colour.
    """

    def __init__(self, why: Why) -> None:
        self.why = why

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(visible(self.why.param.name), style="bold", overflow="fold")
        yield facts_grid(_final(self.why), indent=GAP)
        if len(self.why.phases) > 1:
            yield Text("")
            yield Text("by phase", style="bold")
            yield facts_grid(_by_phase(self.why), indent=GAP)
            yield Text("")
            yield Text(visible(f"in phase {self.why.phase}:"), style="bold", overflow="fold")
        for name in dict.fromkeys(map(_property, self.why.touches)):
            yield Text("")
            yield Text(TITLES.get(name, name), style="bold")
            touches = [touch for touch in self.why.touches if _property(touch) == name]
            yield _touches(sorted(touches[::-1], key=lambda touch: not touch.won))
        if self.why.notes:
            yield Text("")
            yield from (_note(note) for note in self.why.notes)


def why_record(why: Why) -> dict[str, Any]:
    """Return the JSON form of the same facts, keys in a fixed order."""
    what = why.assignment
    return {
        "parameter": why.param.name,
        "names": list(why.names),
        "shape": list(why.param.shape),
        "state": what.state,
        "kept_in": why.kept_in,
        "lr": what.lr if what.trainable else None,
        "weight_decay": what.weight_decay if what.trainable else None,
        "options": dict(what.options) if what.trainable else {},
        "phase": why.phase,
        "phases": [
            {"name": name, "state": phase.state, "lr": phase.lr if phase.trainable else None}
            for name, phase in why.phases
        ],
        "touches": [_touch_record(touch) for touch in why.touches],
        "notes": list(why.notes),
    }


def _by_phase(why: Why) -> Iterator[tuple[str, str]]:
    for name, what in why.phases:
        yield (
            visible(name, keep=""),
            f"trainable, LR {format_rate(what.lr)}" if what.trainable else what.state,
        )


def _touch_record(touch: Touch) -> dict[str, Any]:
    return {
        "property": touch.property,
        "value": touch.value,
        "rule": touch.rule,
        "place": str(touch.place) if touch.place else None,
        "won": touch.won,
        "reason": touch.reason,
    }


def _final(why: Why) -> Iterator[tuple[str, str]]:
    param, what = why.param, why.assignment
    layer = "" if param.layer is None else f", layer {param.layer}"
    yield "tensor", f"{format_shape(param.shape)} {param.dtype}, {counted(param.numel, 'parameter')}{layer}"
    others = [name for name in why.names if name != why.param.name]
    if others:
        yield "also named", ", ".join(others)
    yield "state", what.state
    if why.kept_in:
        yield "kept in", f"{why.kept_in}; computes in {param.dtype}"
    if what.trainable:
        yield from _numbers(what)


def _numbers(what: Assignment) -> Iterator[tuple[str, str]]:
    yield "LR", format_rate(what.lr)
    yield "weight decay", format_number(what.weight_decay) + (" (no_decay)" if what.masked else "")
    if what.options:
        yield "options", format_options(what.options)


def _touches(touches: list[Touch]) -> Table:
    """Lay out one property's touches: verdict, then value, rule and place, the reason below."""
    grid = Table.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True, min_width=GAP + len("overruled"))
    grid.add_column(overflow="fold")
    for touch in touches:
        mark = Text("  wins", style="bold green") if touch.won else Text("  overruled", style="dim")
        grid.add_row(mark, _touch_text(touch))
    return grid


def _touch_text(touch: Touch) -> Text:
    setting = visible(f"{touch.property} = {_value(touch)}", keep="")
    style = STATE_STYLES.get(str(touch.value), "bold") if touch.won else "strike dim"
    text = Text.assemble((setting, style), "  ", (visible(touch.rule, keep=""), "cyan"))
    if touch.place:
        text.append(f"  {visible(str(touch.place), keep='')}", style="blue")
    return text.append(f"\n{visible(touch.reason)}", style="dim") if touch.reason else text


def _note(note: str) -> Table:
    grid = Table.grid(padding=0)
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    grid.add_row("note: ", Text(visible(note)))
    return grid


def _property(touch: Touch) -> str:
    return WRITTEN_AS.get(touch.property, touch.property)


def _value(touch: Touch) -> str:
    return format_rate(touch.value) if touch.property == "lr" else format_toml(touch.value)
