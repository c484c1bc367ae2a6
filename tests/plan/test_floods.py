"""A spec with very many alike faults is answered with a few of them, and with the work of a few."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.floods import LAYERS, alike, braces, colliding, misses, small_model
from freezeplan.diagnostics import Diagnostic, DiagnosticError, Span
from freezeplan.plan import compile_plan
from freezeplan.plan.collisions import Laid
from freezeplan.render.diagnostics import DiagnosticsView, diagnostics_record, summary_line
from freezeplan.spec.patterns import MOST_BRANCHES_IN_ALL
from freezeplan.spec.reading import load_spec
from tests.render.drawing import drawn


def found_in(table: dict[str, Any]) -> tuple[Diagnostic, ...]:
    try:
        return compile_plan(small_model(), load_spec(table)).diagnostics
    except DiagnosticError as error:
        return error.diagnostics


@pytest.mark.parametrize(
    ("table", "count"),
    [(misses(300), 300), (alike(300), 299), (braces(5), 5 * 8), (colliding(25), None)],
    ids=["misses", "alike rules", "braces", "collisions"],
)
def test_twenty_alike_are_shown_and_the_rest_is_counted(table: dict[str, Any], count: int | None) -> None:
    items = found_in(table)
    assert len(items) == 20
    assert [item.more > 0 for item in items] == [False] * 19 + [True]
    assert len({item.code for item in items}) == 1
    if count is not None:
        assert 20 + items[-1].more == count


def pairs_that_collide(count: int) -> int:
    """Count them by the definition: they share names, and the later one does not lie inside the earlier."""
    rules = colliding(count)["rule"][1:]
    selected = [{*rule["match"][:2]} for rule in rules]
    return sum(
        # All select every bias; two weights of twelve each, so one lies inside the other only where they are equal.
        selected[later] != selected[earlier]
        for later in range(count)
        for earlier in range(later)
    )


@pytest.mark.parametrize("count", [8, LAYERS * 3])
def test_every_colliding_pair_is_counted_once(count: int) -> None:
    assert sum(1 + item.more for item in found_in(colliding(count))) == pairs_that_collide(count)


def test_text_and_json_say_how_many_were_left_out() -> None:
    items = found_in(misses(1300))
    text = drawn(DiagnosticsView(items), width=100)
    assert text.count("error[FP201]") == 20
    assert text.count("and 1,280 more like it") == 1
    assert summary_line(items) == "1,300 errors"
    record = json.loads(json.dumps(diagnostics_record(items)))
    assert (record["errors"], record["left_out"], len(record["diagnostics"])) == (1300, 1280, 20)
    assert [item["more"] for item in record["diagnostics"]] == [0] * 19 + [1280]


def test_a_view_caps_what_nobody_capped_before() -> None:
    many = [Diagnostic("FP201", found_in(misses(1))[0].severity, f"`{name}` is odd") for name in range(50)]
    assert drawn(DiagnosticsView(many), width=100).count("is odd") == 20
    assert summary_line(many) == "50 errors"


def test_other_faults_are_not_hidden_behind_a_flood() -> None:
    table = misses(100)
    table["rule"].insert(50, {"match": "layers.0.weight[0-3]", "state": "frozen"})
    table["rule"] += [{"match": "layers.{0,99}.weight", "state": "frozen"}]
    with pytest.raises(DiagnosticError) as caught:
        load_spec(table)
    assert [item.code for item in caught.value.diagnostics] == ["FP141"]
    del table["rule"][50]
    messages = [item.message for item in found_in(table)]
    assert "alternative `99` matches no parameter" in messages


def test_alike_and_nested_rules_are_not_compared_with_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(Laid, "_contradicted", lambda *args: compared.append(args) or [])
    found_in(alike(500))
    nested = [{"match": f"layers.{number % LAYERS}", "lr_mult": 2.0 + number} for number in range(LAYERS)]
    found_in({"rule": [{"match": "**", "state": "trainable"}, *nested]})
    assert not compared


def test_the_forms_of_all_patterns_together_are_limited() -> None:
    table = braces(MOST_BRANCHES_IN_ALL // 4096 + 3)
    with pytest.raises(DiagnosticError) as caught:
        load_spec(table)
    (item,) = caught.value.diagnostics
    assert (item.code, item.where) == ("FP142", "rule[65].match[1]")


def test_a_pattern_of_fifty_thousand_characters_is_refused_and_never_repeated() -> None:
    long = "layers.{" + ",".join(f"{'x' * 40}{number}" for number in range(2000)) + "}"
    with pytest.raises(DiagnosticError) as caught:
        load_spec({"rule": [{"match": long, "state": "frozen"}]})
    assert [item.code for item in caught.value.diagnostics] == ["FP140"]
    items = found_in({"rule": [{"match": long[:40_000] + "}", "state": "frozen"}]})
    assert len(items) == 20 and max(len(item.message) for item in items) < 300


def test_of_a_very_long_line_only_what_is_near_the_span_is_shown() -> None:
    text = f'labels = ["{"a" * 500_000}", "b", "b"]'
    span = Span("spec.toml", 1, text.index('"b"]') + 1, 3, text)
    item = replace(found_in(misses(1))[0], span=span)
    lines = drawn(DiagnosticsView([item]), width=80).splitlines()
    assert all(len(line) <= 80 for line in lines)
    (source,) = (line for line in lines if line.startswith("1 | "))
    (carets,) = (line for line in lines if set(line) <= set(" |^") and "^" in line)
    assert source[carets.index("^") : carets.rindex("^") + 1] == '"b"'
    assert len(diagnostics_record([item])["diagnostics"][0]["span"]["text"]) == 2000
