"""A spec for a file of rows, and what rows and labels alone speak for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from torch import nn

from freezeplan.choose.from_facts import DataFacts, facts_advice, recommended
from freezeplan.choose.given import compare_specs
from freezeplan.choose.new_spec import spec_for_rows
from freezeplan.choose.rows_file import rows_file
from freezeplan.cli.program import program
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.models.sources import inventory_for
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from tests.choose.test_measured_advice import report
from tests.train.tiny import toy_data, toy_spec, write_jsonl


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(program, list(map(str, arguments)), standalone_mode=False)


def written(toy: Path, out: Path, *more: object) -> tuple[str, Spec, Plan]:
    """Return the text, the spec and the plan that ``init`` wrote for the toy rows."""
    arguments = ["init", toy / "bert", "--from-data", toy / "train.jsonl", "--label", "topic", "--out", out]
    found = invoke(*arguments, *more)
    assert found.exception is None, found.exception
    spec = load_spec(out)
    return out.read_text("utf-8"), spec, compile_plan(inventory_for(spec), spec)


def test_a_spec_for_rows_trains_the_head_first_and_says_why(toy: Path, tmp_path: Path) -> None:
    validation = toy / "validation.jsonl"
    text, spec, plan = written(toy, tmp_path / "new.toml", "--validation", validation)
    assert [phase.name for phase in plan.phases] == ["heads", "everything"]
    assert all(name.startswith("heads.") for name in plan.names(0, trainable=True))
    assert spec.task[0].labels == ["app", "mail", "shop"]
    assert spec.task[0].data is not None and spec.task[0].data.validation is not None
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert comments[0].startswith("# 96 rows: ")
    assert all("Source: " in line and "https://arxiv.org/" in line for line in comments)


def test_rows_without_validation_are_said_to_lack_it(toy: Path, tmp_path: Path) -> None:
    text, _, _ = written(toy, tmp_path / "new.toml")
    assert "# There are no validation rows" in text


def test_a_probe_says_where_to_cut(toy: Path, tmp_path: Path) -> None:
    probe = tmp_path / "probe.json"
    probe.write_text(json.dumps(report(1).to_record()), "utf-8")
    text, _, plan = written(toy, tmp_path / "new.toml", "--from", probe)
    assert plan.phases[0].frozen_prefix.layers == 1
    assert "features stop getting better after 1 of 2 layers" in text


def test_words_with_tags_are_rows_too(toy: Path, tmp_path: Path) -> None:
    rows = [{"words": ["a", "box"], "pos": ["D", "N"]}, {"words": ["the", "screen"], "pos": ["D", "N"]}]
    file = write_jsonl(tmp_path / "words.jsonl", rows * 8)
    out = tmp_path / "new.toml"
    found = invoke(
        "init", toy / "bert", "--from-data", file, "--tokens", "words", "--tags", "pos", "--out", out
    )
    assert found.exception is None, found.exception
    assert load_spec(out).task[0].kind == "token_classification"


def test_a_conll_file_is_known_by_its_columns(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "words.conll").write_text("a D\nbox N\n\nthe D\nscreen N\n\n" * 8, "utf-8")
    out = tmp_path / "new.toml"
    found = invoke("init", toy / "bert", "--from-data", tmp_path / "words.conll", "--out", out)
    assert found.exception is None, found.exception
    (task,) = load_spec(out).task
    assert (task.kind, task.labels) == ("token_classification", ["D", "N"])
    assert task.data is not None and (task.data.tokens, task.data.tags) == ("tokens", "tags")
    assert "words with a tag each. Source: its columns `tokens` and `tags`" in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("columns", "named", "expected"),
    [
        (("tokens", "tags"), {}, ("tokens", "tags", True)),
        (("id", "tokens", "tags", "text"), {}, ("tokens", "tags", True)),
        (("tokens", "ner"), {}, ("tokens", "tags", True)),
        (("tokens", "ner"), {"tags": "ner"}, ("tokens", "ner", True)),
        (("text", "label", "tokens", "tags"), {}, ("text", "label", False)),
        (("text", "label", "tokens", "tags"), {"tokens": "tokens"}, ("tokens", "tags", True)),
        (("tokens", "tags"), {"label": "tags"}, ("text", "tags", False)),
        (("a", "b"), {}, ("text", "label", False)),
    ],
)
def test_columns_say_whether_rows_are_words(
    columns: tuple[str, ...], named: dict[str, str], expected: tuple[str, str, bool], tmp_path: Path
) -> None:
    file = write_jsonl(tmp_path / "rows.jsonl", [dict.fromkeys(columns, "x")])
    found = rows_file(file, None, {**dict.fromkeys(("text", "label", "tokens", "tags")), **named})
    assert (found.inputs, found.target, found.words) == expected


def test_a_column_that_is_not_there_is_named_with_its_option(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "rows.jsonl", [{"body": "a b", "topic": "x"}])
    rows = rows_file(file, None, dict.fromkeys(("text", "label", "tokens", "tags")))
    with pytest.raises(DiagnosticError) as caught:
        spec_for_rows({}, inventory_of(nn.Linear(1, 1)), rows, tmp_path)
    found = {item.message: item.help or "" for item in caught.value.diagnostics}
    assert "; --text names it" in found["`rows.jsonl` has no column `text`"]
    assert "; --label names it" in found["`rows.jsonl` has no column `label`"]
    assert all(item.where is None for item in caught.value.diagnostics)


def test_a_comparison_gives_the_spec_that_it_chose(toy: Path, tmp_path: Path) -> None:
    task = [{"name": "topic", "data": toy_data(toy, "topic")}]
    specs = {"a": load_spec(toy_spec(toy, task=task, train={"epochs": 1}))}
    compare_specs(specs, tmp_path / "c")
    out = tmp_path / "new.toml"
    found = invoke("init", "--from", tmp_path / "c" / "comparison.json", "--out", out)
    assert found.exception is None, found.exception
    assert "choose a: nothing cheaper" in out.read_text("utf-8")
    assert load_spec(out).rule == specs["a"].rule


@pytest.mark.parametrize(
    "arguments",
    [
        ("bert",),
        ("--from-data", "x.jsonl"),
        ("bert", "--scenario", "gradual", "--from-data", "x"),
        ("bert", "--scenario", "gradual", "--tags", "x"),
        ("bert", "--from-data", "x", "--text", "a", "--tags", "b"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: tuple[str, ...]) -> None:
    assert "UsageError" in repr(invoke("init", *arguments).exception)


@pytest.mark.parametrize(
    "rows, labels, name",
    [(80, 10, "head"), (90, 10, "lp_ft"), (1000, 2, "lp_ft"), (5000, None, "lp_ft"), (100_000, 3, "whole")],
)
def test_rows_and_labels_decide_what_is_recommended(rows: int, labels: int | None, name: str) -> None:
    found = recommended(DataFacts(rows, labels))
    assert found is not None
    assert found.name == name
    assert "https://arxiv.org/" in found.advice.source


def test_a_limit_of_memory_is_held_against_the_plans_step() -> None:
    (fits,) = facts_advice(DataFacts(), 100, 100)
    (not_at_all,) = facts_advice(DataFacts(), 99, 100)
    assert "it fits into" in fits.text
    assert "it does not fit into" in not_at_all.text


def test_show_says_what_facts_speak_for(toy: Path, tmp_path: Path) -> None:
    _, _, _ = written(toy, tmp_path / "new.toml")
    found = invoke("show", tmp_path / "new.toml", "--rows", 50, "--labels", 10, "--budget", "1GiB")
    assert found.exception is None, found.exception
    assert "freeze the backbone, train the head alone (with 8 rows a label" in " ".join(found.stdout.split())
    assert "it fits into" in " ".join(found.stdout.split())
