"""The matcher's laws: it means what a slow reference means, and it never does unbounded work."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
import regex
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from freezeplan.inventory.records import Inventory, Stack
from freezeplan.plan import select as select_module
from freezeplan.plan import tree as tree_module
from freezeplan.plan.document import to_record
from freezeplan.plan.walk import segment_matcher
from freezeplan.spec.braces import alternatives
from freezeplan.spec.selector import parse_selector
from freezeplan.spec.selector_error import SelectorError
from tests.plan.matching import codes_of, compiled, errors_of, named, rule, selected, states, untied
from tests.plan.reference_matching import all_paths, forms, meaning
from tests.strategies import inventories, is_below, selectors

LAYERS = [f"encoder.layer.{i}.{part}" for i in range(12) for part in ("weight", "bias")]


@settings(max_examples=200)
@given(st.data())
def test_it_means_what_the_slow_reference_means(data: st.DataObject) -> None:
    inventory = data.draw(inventories())
    for pattern in data.draw(st.lists(selectors(inventory), min_size=15, max_size=25)):
        expected = meaning(inventory, pattern)
        names, missed = selected(inventory, pattern)
        assert missed == expected.missed, pattern
        assert names == expected.names, pattern


@given(
    st.lists(st.sampled_from([*"ab.", "{a,b}", "{b}", "{0..2}", "{10..11}"]), min_size=1, max_size=5).map(
        "".join
    )
)
def test_braces_stand_for_their_brace_free_forms(pattern: str) -> None:
    assert ["".join(piece.text for piece in form) for form in product(*alternatives(pattern))] == [
        form for form, _ in forms(pattern)
    ]


@given(st.text("ab*", min_size=1, max_size=8).filter(lambda t: "*" in t), st.text("ab", max_size=8))
def test_a_star_is_any_run_of_characters_within_a_segment(pattern: str, name: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name)
    assert segment_matcher(pattern)(name) is bool(expected)


@given(st.data())
def test_a_number_never_selects_a_longer_number(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 30))
    inventory = named(*(f"encoder.layer.{i}.weight" for i in range(count)))
    index = data.draw(st.integers(0, count - 1))
    assert selected(inventory, f"encoder.layer.{index}") == ({f"encoder.layer.{index}.weight"}, False)


def test_a_role_after_a_scope_keeps_what_lies_inside_it() -> None:
    inventory = named("a.b.ln.weight", "ln.sub.weight", role_nodes={"norm": ("a.b.ln", "ln")})
    everything = {"a.b.ln.weight", "ln.sub.weight"}
    assert selected(inventory, "*.*.@norm") == (everything, False)


def test_an_ambiguous_reading_is_told_before_one_that_finds_nothing() -> None:
    stacks = (Stack("a", ("a.0",)), Stack("b.a", ("b.a.0",)))
    inventory = named("a.0.weight", "b.a.0.weight", base="a", stacks=stacks)
    base = rule("**", "frozen")
    assert codes_of(inventory, base, rule("*.@layers[0].@bias", "trainable", optional=True)) == ["FP204"]


def test_layer_1_is_not_layer_10() -> None:
    assert selected(named(*LAYERS), "encoder.layer.1")[0] == {
        "encoder.layer.1.weight",
        "encoder.layer.1.bias",
    }


@given(inventories(), st.data())
def test_naming_a_module_selects_all_below_it_and_nothing_else(
    inventory: Inventory, data: st.DataObject
) -> None:
    paths = all_paths(inventory)
    full = [p for p in paths if any(is_below(info.name, p) for info in inventory.params)]
    path = data.draw(st.sampled_from([p for p in full if p and f"{inventory.base}.{p}" not in paths]))
    below = {info.name for info in inventory.params if is_below(info.name, path)}
    assert selected(inventory, path) == (below, False)


@settings(max_examples=50)
@given(inventories(), st.data())
def test_a_list_is_the_union_of_its_entries_and_except_takes_away(inventory: Inventory, data: Any) -> None:
    entries = data.draw(
        st.lists(st.sampled_from(whole_paths(inventory)), min_size=1, max_size=3, unique=True)
    )
    union = frozenset().union(*(meaning(inventory, text).names for text in entries))
    taken = data.draw(st.sampled_from(sorted(union)))
    left = union - meaning(inventory, taken).names
    assume(left and taken not in entries)
    plan = compiled(untied(inventory), rule("**", "frozen"), rule(entries, "trainable", except_=taken))
    assert {name for name, state in states(plan).items() if state == "trainable"} == left


def whole_paths(inventory: Inventory) -> list[str]:
    """Return the paths from the root that mean one thing and hold parameters."""
    return [path for path in all_paths(inventory) if path and not meaning(inventory, path).missed]


def test_every_entry_of_a_list_must_hit_something() -> None:
    found = errors_of(
        named(*LAYERS), rule("**", "frozen"), rule(["encoder.layer.0", "encoder.layer.99"], "trainable")
    )
    assert [(item.code, item.where) for item in found] == [("FP201", "rule[2].match[2]")]


def test_every_number_of_a_range_must_exist() -> None:
    (found,) = errors_of(named(*LAYERS), rule("**", "frozen"), rule("encoder.layer.{10..13}", "trainable"))
    assert found.code == "FP201"
    assert "`12`" in found.message
    assert "`13`" in found.message


def test_both_ends_of_a_range_are_included() -> None:
    names, missed = selected(named(*LAYERS), "encoder.layer.{2..4}.weight")
    assert (names, missed) == ({f"encoder.layer.{i}.weight" for i in (2, 3, 4)}, False)


def test_except_must_take_something_and_leave_something() -> None:
    inventory = named("a.weight", "b.weight")
    base = rule("**", "frozen")
    assert codes_of(inventory, base, rule("a", "trainable", except_="b")) == ["FP209"]
    assert codes_of(inventory, base, rule("a", "trainable", except_="**.weight")) == ["FP210"]


@settings(max_examples=50)
@given(inventories(), st.integers(0, 3), st.data())
def test_an_optional_rule_that_matches_nothing_changes_nothing(
    inventory: Inventory, place: int, data: Any
) -> None:
    inventory = untied(inventory)
    path = data.draw(st.sampled_from(whole_paths(inventory)))
    rules = [rule("**", "frozen", lr_mult=2.0), rule(path, weight_decay=0.5)]
    silent = rule("no.such.module", "trainable", lr=1.0, optional=True, name="silent")
    with_it = [*rules[:place], silent, *rules[place:]]
    assert essence(compiled(inventory, *with_it)) == essence(compiled(inventory, *rules))


def essence(plan: Any) -> dict[str, Any]:
    """Return the plan's record without the places of its advice, which count rules."""
    record = to_record(plan)
    return record | {"diagnostics": [(item["code"], item["message"]) for item in record["diagnostics"]]}


def test_without_optional_a_rule_that_matches_nothing_is_an_error() -> None:
    assert codes_of(named("a.weight"), rule("**", "frozen"), rule("no.such.module", "trainable")) == ["FP201"]


class Counted:
    """Count how often the tree is asked about a node, whatever asks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        for name in ("below", "strictly_below"):
            monkeypatch.setattr(tree_module.Scope, name, self._counting(getattr(tree_module.Scope, name)))

    def _counting(self, original: Any) -> Any:
        def counting(*arguments: Any) -> Any:
            self.calls += 1
            return original(*arguments)

        return counting


@pytest.mark.parametrize("depth", [50, 100, 200])
def test_double_stars_do_work_that_is_linear_in_the_model(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    inventory = named(".".join(["a"] * depth) + ".weight")
    stars = 10
    assert selected(inventory, ".".join(["**", "a"] * stars) + ".**.b") == (frozenset(), True)
    assert counted.calls <= 4 * stars * depth


class Searched(str):
    """A name that counts the characters that searches in it may look at."""

    looked = 0

    def find(self, part: str, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        """Search as ``str`` does; a hit looks at what lies before it, a miss at all that is left."""
        found = super().find(part, start, end)
        Searched.looked += (found + len(part) if found >= 0 else len(self)) - start
        return found


@pytest.mark.parametrize("length", [100, 1000, 10_000])
def test_stars_in_a_segment_never_go_back(length: int) -> None:
    Searched.looked = 0
    stars = "*a" * 20 + "*b"
    assert segment_matcher(stars)(Searched("a" * length + "c")) is False
    assert segment_matcher("*a" * 20 + "*c*d*")(Searched("a" * length)) is False
    assert Searched.looked <= 3 * length


def test_a_regular_expression_that_blows_up_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select_module, "REGEX_SECONDS", 0.05)
    inventory = named("x." + "a" * 5000 + "!")
    found = errors_of(inventory, rule("**", "frozen"), rule(r"re:x\.(a|a?)+$", "trainable"))
    assert [(item.code, item.where) for item in found] == [("FP208", "rule[2].match[1]")]


def test_a_regular_expression_must_match_the_whole_name() -> None:
    inventory = named(*LAYERS)
    assert selected(inventory, r"re:encoder\.layer\.1") == (frozenset(), True)
    assert selected(inventory, r"re:encoder\.layer\.1\..*")[0] == {
        "encoder.layer.1.weight",
        "encoder.layer.1.bias",
    }


def test_a_pattern_that_means_two_things_is_an_error() -> None:
    inventory = named("model.weight", "model.model.weight", base="model")
    (found,) = errors_of(inventory, rule("**", "frozen"), rule("model", "trainable"))
    assert found.code == "FP206"
    assert "`model.model`" in found.message


def test_a_path_may_leave_out_the_base_model() -> None:
    inventory = named("distilbert.layer.0.weight", "head.weight", base="distilbert")
    assert selected(inventory, "layer.0") == ({"distilbert.layer.0.weight"}, False)
    assert selected(inventory, "distilbert.layer.0") == ({"distilbert.layer.0.weight"}, False)


REFUSED = [
    "(?R)", "(a)(?1)", "(?<n>a)(?&n)", "(?P<n>a)(?P>n)", "(?(1)a|b)", "(?x) a # {", "(?V1)[[a]--[b]]",
    "(*FAIL)", "a{e<=3}",
    "(a{999}){999}", "((a{100}){100}){100}", "a{10001}", "(a|b{200}){100}", "a{9999999999999999999999}",
    "(" * 50 + ")" * 50,
    "a" * 3000,
]  # fmt: skip
TAKEN = [
    r"layer\.(\d+)\.(?:weight|bias)", "(?P<n>a)(?P=n)", "(?=a)(?!b)(?<=c)(?<!d)(?>e)", "(?i)x", "(?i:x)", "[({]{3}",
    r"\(\{{2}",
    "a{2,}(b{3}){3}", "(a{99}){99}", "[]]", "[^]{9999}]{9999}",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_an_expression_that_could_take_gigabytes_is_refused_before_it_is_compiled(text: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_selector("re:" + text)
    error = caught.value
    assert error.code == "FP145" and error.advice
    assert error.start >= 3 and error.start + error.length <= 3 + len(text)


@pytest.mark.parametrize("text", TAKEN)
def test_ordinary_expressions_are_not(text: str) -> None:
    assert parse_selector("re:" + text).value == text


@given(st.text("ab()[]{},.0129\\?*+|^:<=!iRx", max_size=40))
def test_what_is_taken_compiles_small_or_is_no_expression(text: str) -> None:
    try:
        parse_selector("re:" + text)
    except SelectorError:
        return
    with suppress(regex.error):
        regex.compile(text)
