"""Every spec that a model contradicts gives exactly the diagnostics that its first lines promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from freezeplan.diagnostics import Diagnostic, DiagnosticError, entries
from freezeplan.models.sources import inventory_for
from freezeplan.plan.compiling import compile_plan
from freezeplan.spec.reading import load_spec

INVALID = Path(__file__).parents[1] / "specs" / "invalid"
EXPECT = re.compile(r"# expect: (?P<code>FP\d{3}) (?P<line>\d+):(?P<column>\d+)$", re.MULTILINE)
HELP = re.compile(r"# help: (?P<text>.+)$", re.MULTILINE)
# Pattern syntax, matching, coverage and collisions, the optimizer and advice.
OURS = re.compile(r"FP(14\d|2\d\d|3\d\d|40\d|41\d|42\d|43\d)")

WITHOUT_FILE = {
    "FP149": "about a command: test_what_would_say_something_else_is_left_as_it_is",
    "FP207": "needs a weights file: test_classes_are_not_known_from_a_weights_file",
    "FP208": "needs a shorter time limit: test_a_regular_expression_that_blows_up_is_stopped",
    "FP213": "a name asked of `why`, not a spec: test_an_unknown_name_is_refused_with_close_ones",
    "FP214": "needs a model without a config: test_lists_of_which_none_is_confirmed_are_in_doubt",
    "FP217": "a phase asked of a command: test_why_tells_what_each_phase_does_and_which_rule_did_it",
    "FP411": "needs a quantised model: test_a_quantised_tensor_cannot_be_trained",
    "FP413": "about building an optimizer: test_an_optimizer_without_a_trainable_parameter_is_refused",
    "FP416": "needs a model without layers: test_a_ladder_needs_layers",
    "FP414": "about a live model: test_a_plan_for_another_model_is_refused_before_anything_changes",
    "FP421": "found when it is built: test_a_class_that_cannot_be_had_is_refused",
    "FP429": "needs a sparse embedding: test_sparse_gradients_need_an_optimizer_that_takes_them",
    "FP430": "about a wrapped model: test_freezing_or_thawing_inside_ddp_is_refused",
    "FP431": "about a live model: test_reentrant_checkpointing_behind_a_frozen_part_is_refused",
    "FP432": "about an optimizer: test_an_optimizer_over_other_tensors_is_refused",
    "FP433": "about a live model: test_a_model_that_left_its_plan_is_refused",
    "FP436": "found when a run is prepared: test_a_library_that_is_not_there_is_said",
    "FP438": "about a live model: test_numbers_that_a_format_cannot_hold_are_refused_before_anything_changes",
    "FP434": "about several ranks: test_ranks_that_hold_other_weights_are_found",
}


def expected(path: Path) -> list[tuple[str, int, int]]:
    """Read the promises at the top of a file: code, line, column."""
    return [(m["code"], int(m["line"]), int(m["column"])) for m in EXPECT.finditer(path.read_text("utf-8"))]


def helps(path: Path) -> list[str]:
    """Read what the advice of a file's diagnostics must say."""
    return [m["text"] for m in HELP.finditer(path.read_text("utf-8"))]


def ours() -> list[Path]:
    """Return the files about the codes of matching, the cascade, the optimizer and advice."""
    paths = sorted(INVALID.glob("*.toml"))
    return [path for path in paths if (codes := expected(path)) and OURS.fullmatch(codes[0][0])]


def diagnostics_of(path: Path) -> tuple[Diagnostic, ...]:
    """Compile a spec file; return all that is said about it, whether it compiles or not."""
    try:
        spec = load_spec(path)
        return compile_plan(inventory_for(spec), spec).diagnostics
    except DiagnosticError as error:
        return error.diagnostics


@pytest.mark.parametrize("path", ours(), ids=lambda path: path.stem)
def test_it_gives_the_codes_and_places_it_promises(path: Path) -> None:
    found = diagnostics_of(path)
    assert [(item.code, item.span.line, item.span.column) for item in found] == expected(path)
    lines = path.read_text("utf-8").splitlines()
    for item in found:
        assert Path(item.span.file).name == path.name
        assert item.span.text == lines[item.span.line - 1]
        assert item.span.column + item.span.length - 1 <= len(item.span.text)


@pytest.mark.parametrize("path", [path for path in ours() if helps(path)], ids=lambda path: path.stem)
def test_it_helps_as_it_promises(path: Path) -> None:
    said = " ".join(item.help or "" for item in diagnostics_of(path))
    assert [text for text in helps(path) if text not in said] == []


@pytest.mark.parametrize("path", ours(), ids=lambda path: path.stem)
def test_the_file_is_named_after_the_code_it_shows(path: Path) -> None:
    assert path.stem[:5].upper() in {code for code, *_ in expected(path)}


def test_every_code_has_a_file_or_a_reason() -> None:
    codes = {code for code in entries() if OURS.fullmatch(code)}
    shown = {code for path in ours() for code, *_ in expected(path)}
    assert codes - shown == set(WITHOUT_FILE)


def test_every_reason_names_a_test_that_exists() -> None:
    tests = "\n".join(path.read_text("utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    for reason in WITHOUT_FILE.values():
        assert f"def {reason.rpartition(' ')[2]}(" in tests


UNDERLINED = {
    "fp201_typo": ["transfomer"],
    "fp201_range_too_long": ["1..3"],
    "fp201_everywhere": ["LayerNorms", "qq_lin", "LayerNorn", "layer.0", "LayerNorms"],
    "fp202_dropout": ["dropout"],
    "fp141_character_class": ["[0-11]"],
    "fp204_two_stacks": ["@layers[:1]"],
    "fp209_idle_exception": ["embeddings"],
}


@pytest.mark.parametrize("name", UNDERLINED)
def test_the_caret_stands_under_what_failed(name: str) -> None:
    spans = [item.span for item in diagnostics_of(INVALID / f"{name}.toml")]
    assert [s.text[s.column - 1 : s.column - 1 + s.length] for s in spans] == UNDERLINED[name]


ADVICE = {
    "fp141_character_class": "write `{0..11}` for the numbers",
    "fp143_role": "did you mean `@layers`?",
    "fp201_typo": "did you mean `transformer`?",
    "fp401_optimizer": 'did you mean `adam`?; one from elsewhere is `class = "MODULE:CLASS"`',
    "fp204_two_stacks": "put one in front: `encoder.@layers[:1]`",
}


@pytest.mark.parametrize("name", ADVICE)
def test_it_says_what_to_write_instead(name: str) -> None:
    assert [item.help for item in diagnostics_of(INVALID / f"{name}.toml")] == [ADVICE[name]]
