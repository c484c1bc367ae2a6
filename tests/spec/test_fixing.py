"""Slips that can mean one thing only are mended; all other text, and all that compiles, stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.diagnostics.wording import one_slip_away
from freezeplan.spec.fields import fields_of
from freezeplan.spec.fixing import mended
from freezeplan.spec.tables import Rule, Spec

HERE = Path("spec.toml")
KNOWN = sorted(fields_of(Rule))
WHOLE = """# top
[model]
architecture = "distilbert"

[optimizer]
lr = 2e-5

[[rule]]  # first
match = ["transformer.layer.{0..1}", "@layers[2:]"]
state = "frozen"
optional = true
"""
SLIPS = {
    "a letter too few": ("[optimizer]", "[optimzer]"),
    "two exchanged": ("state", "satte"),
    "another name": ("lr =", "learning_rate ="),
    "one bracket": ("[[rule]]", "[rule]"),
    "a range of a regular expression": ("{0..1}", "[0-1]"),
    "a role": ("@layers", "@layer"),
    "a choice": ('"frozen"', '"frozne"'),
    "a key in quotes is not touched": ("optional", '"optionl"'),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_mended(slip: str) -> None:
    right, wrong = SLIPS[slip]
    text = WHOLE.replace(right, wrong, 1)
    after, found = mended(text, HERE)
    if "not touched" in slip:
        assert (after, found) == (text, [])
    else:
        assert after == WHOLE and len(found) == 1


def test_repeated_tables_get_two_brackets_each() -> None:
    text = WHOLE.replace("[[rule]]", "[rule]") + '\n[rule]\nmatch = "**"\nlr = 1e-5\n'
    after, found = mended(text, HERE)
    assert after == text.replace("[rule]", "[[rule]]") and len(found) == 2


@pytest.mark.parametrize(
    "line",
    ["freeze = true", "mtch = 1\nmach = 2", 'statte = "frozen"', "zzz = 1"],
    ids=["another kind of value", "a key that is there", "a key that is there, too", "far from all"],
)
def test_what_is_not_certain_stays(line: str) -> None:
    text = WHOLE + line + "\n"
    assert mended(text, HERE)[0] == text


@given(st.data())
def test_slips_of_all_kinds_together_are_mended_and_no_more(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(sorted(SLIPS)), unique=True))
    text = WHOLE
    for slip in chosen:
        text = text.replace(*SLIPS[slip], 1)
    after, found = mended(text, HERE)
    quoted = "a key in quotes is not touched"
    assert after == (WHOLE.replace(*SLIPS[quoted], 1) if quoted in chosen else WHOLE)
    assert len(found) == len(set(chosen) - {quoted}) and mended(after, HERE) == (after, [])


@given(st.sampled_from(["", "\n", " # é\n"]), st.sampled_from(KNOWN))
def test_what_can_be_read_is_never_changed(tail: str, key: str) -> None:
    for text in (WHOLE + tail, f"# {key}\n{WHOLE}"):
        assert mended(text, HERE) == (text, [])


@given(st.sampled_from(sorted({*KNOWN, *fields_of(Spec)})), st.data())
def test_one_slip_is_undone_or_could_be_two(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word) - 1))
    slip = word[:at] + data.draw(st.sampled_from(["", "x", word[at] * 2])) + word[at + 1 :]
    found = one_slip_away(slip, [word, "qqqqqqqqqqqqqqqqqqq"])
    assert found == (word if slip != word and len(slip) >= 4 else None)
