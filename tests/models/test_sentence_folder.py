"""A folder of sentence-transformers as a source: what it says is taken over, or said not to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from freezeplan.cli.compiling import compiled_spec
from freezeplan.cost.estimating import estimate_cost
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.left_open import pooling_of
from freezeplan.models.loading import load_model
from freezeplan.models.resolve import resolve_source
from freezeplan.models.sources import inventory_for
from freezeplan.spec.tables import Spec
from freezeplan.train.encoded_rows import encoder_for
from tests.models.sentence_folders import sentence_folder, switches, write
from tests.models.sources import TASKS, saved, spec_of

MEAN = {"embedding_dimension": 8, "pooling_mode": "mean"}


def tasks_on(folder: Path, model: dict[str, Any] | None = None, **tables: Any) -> Spec:
    return spec_of({"source": str(folder), **(model or {})}, TASKS, **tables)


def told(spec: Spec) -> list[tuple[str, str, str]]:
    return [(item.code, item.where, item.message) for item in compiled_spec(spec).plan.diagnostics
            if item.code in ("FP187", "FP188")]  # fmt: skip


def tokens_read(spec: Spec) -> int | None:
    model, _ = load_model(spec)
    return encoder_for(spec, model.backbone).max_length


@pytest.mark.parametrize("name", ["mean", "cls", "max", "lasttoken"])
@pytest.mark.parametrize("old", [True, False])
def test_heads_pool_as_the_folder_does(tmp_path: Path, name: str, old: bool) -> None:
    pooling = switches(name) if old else {"pooling_mode": name}
    spec = tasks_on(sentence_folder(tmp_path, pooling))
    model, _ = load_model(spec)
    expected = {"lasttoken": "last"}.get(name, name)
    assert model.pooling == pooling_of(spec, resolve_source(spec)) == expected
    assert told(spec) == []
    assert inventory_for(spec).notes == (f"{expected} pooling, as the source's sentence encoder has it",)


def test_a_folder_without_a_sentence_encoder_is_pooled_by_mean(tmp_path: Path) -> None:
    spec = tasks_on(saved(tmp_path))
    assert load_model(spec)[0].pooling == "mean"
    assert inventory_for(spec).notes == ()


def test_a_pooling_that_is_written_wins_and_the_difference_is_said(tmp_path: Path) -> None:
    spec = tasks_on(sentence_folder(tmp_path, switches("cls")), {"pooling": "mean"})
    assert load_model(spec)[0].pooling == "mean"
    assert told(spec) == [
        ("FP188", "model.pooling", "the source's sentence encoder pools by `cls`, this spec by `mean`")
    ]
    same = tasks_on(tmp_path, {"pooling": "cls"})
    assert told(same) == []


@pytest.mark.parametrize("modes", [("mean_sqrt_len_tokens",), ("cls", "mean")])
def test_a_pooling_that_there_is_not_here_is_said(tmp_path: Path, modes: tuple[str, ...]) -> None:
    spec = tasks_on(sentence_folder(tmp_path, switches(*modes)))
    ((code, where, message),) = told(spec)
    assert (code, where) == ("FP188", "model.source")
    assert all(f"`{mode}`" in message for mode in modes)
    assert message.endswith("which is no pooling here: mean is used")


def test_a_pooling_whose_config_was_not_copied_is_said(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, MEAN)
    (folder / "1_Pooling" / "config.json").unlink()
    ((code, _, message),) = told(tasks_on(folder))
    assert (code, message) == (
        "FP188", "`1_Pooling/config.json` is not there, which says how the source pools: mean is used",
    )  # fmt: skip
    assert told(tasks_on(folder, {"pooling": "mean"})) == []


def test_texts_are_cut_where_the_folder_cuts_them(tmp_path: Path) -> None:
    spec = tasks_on(sentence_folder(tmp_path, MEAN, {"max_seq_length": 7, "do_lower_case": False}))
    assert tokens_read(spec) == 7
    cost = estimate_cost(spec, compiled_spec(spec).plan)
    assert cost.length == 7
    assert inventory_for(spec).notes == (
        "mean pooling and texts of at most 7 tokens, as the source's sentence encoder has it",
    )


def test_a_length_beyond_what_the_model_takes_is_what_the_model_takes(tmp_path: Path) -> None:
    assert tokens_read(tasks_on(sentence_folder(tmp_path, MEAN, {"max_seq_length": 4000}))) == 16


def test_a_length_that_is_written_wins_and_a_longer_one_is_said(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, MEAN, {"max_seq_length": 7})
    shorter, longer = (tasks_on(folder, train={"max_length": length}) for length in (5, 9))
    assert (tokens_read(shorter), tokens_read(longer)) == (5, 9)
    assert told(shorter) == []
    assert told(longer) == [
        ("FP188", "train.max_length", "the source's sentence encoder reads 7 tokens of a text, this spec 9")
    ]


def test_further_modules_with_weights_are_said_not_to_be_used(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, MEAN, more=("Dense", "Normalize"))
    spec = tasks_on(folder)
    assert told(spec) == [
        (
            "FP187",
            "model.source",
            "of the source's sentence encoder these modules are not used: Dense (`2_Dense`)",
        )
    ]
    assert inventory_for(spec).notes[1:] == (
        "Normalize of the source's sentence encoder is left out: heads read the pooled vectors as they are",
    )


def test_what_the_encoder_does_to_texts_is_said_not_to_be_done(tmp_path: Path) -> None:
    own = {"prompts": {"query": "search: "}, "default_prompt_name": "query"}
    spec = tasks_on(sentence_folder(tmp_path, MEAN, {"max_seq_length": None, "do_lower_case": True}, own))
    first, second = (message for _, _, message in told(spec))
    assert "lowers the case of a text itself" in first
    assert "puts `search: ` in front of a text" in second


def test_without_tasks_there_is_nothing_to_say(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, switches("cls", "max"), {"do_lower_case": True}, more=("Dense",))
    spec = spec_of({"source": str(folder), "pooling": "mean"})
    assert told(spec) == []
    assert inventory_for(spec).notes == ()


def test_the_transformer_is_found_in_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path, switches("cls"), {"max_seq_length": 7}, inner="0_Transformer")
    # What the first versions of sentence-transformers wrote here.
    write(folder / "config.json", {"__version__": "0.3.0"})
    spec = tasks_on(folder)
    assert tokens_read(spec) == 7
    model, record = load_model(spec)
    assert model.pooling == "cls"
    plain = load_model(tasks_on(folder / "0_Transformer"))[0]
    own = plain.backbone.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in model.backbone.state_dict().items())
    assert all(name.startswith("heads.") for name in record.fresh)
    assert inventory_for(spec).label == f"{folder} + 2 heads"


def test_a_folder_without_a_transformer_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "modules.json", [{"type": "sentence_transformers.models.BoW", "path": "0_BoW"}])
    assert refusal(tmp_path) == ("FP151", f"the folder `{tmp_path}` has no config.json")


BROKEN: dict[str, tuple[str, Any]] = {
    "no JSON": ("modules.json", "["),
    "an empty file": ("modules.json", ""),
    "a table": ("modules.json", {"0": "Transformer"}),
    "names alone": ("modules.json", ["Transformer"]),
    "no path": ("modules.json", [{"type": "Transformer"}]),
    "a path that is a number": ("modules.json", [{"type": "Transformer", "path": 0}]),
    "a path outside": ("modules.json", [{"type": "Transformer", "path": "../other"}]),
    "an absolute path": ("modules.json", [{"type": "Transformer", "path": "/etc"}]),
    "a null byte": ("modules.json", [{"type": "Transformer", "path": "a\0b"}]),
    "too deep": ("modules.json", "[" * 100_000),
    "a pooling that is no JSON": ("1_Pooling/config.json", "{"),
    "a pooling that is a list": ("1_Pooling/config.json", []),
    "a mode that is a number": ("1_Pooling/config.json", {"pooling_mode": 3}),
    "modes that are numbers": ("1_Pooling/config.json", {"pooling_mode": [3]}),
    "no modes": ("1_Pooling/config.json", {"pooling_mode": []}),
    "a length that is a text": ("sentence_bert_config.json", {"max_seq_length": "long"}),
    "a length of zero": ("sentence_bert_config.json", {"max_seq_length": 0}),
    "a length that is true": ("sentence_bert_config.json", {"max_seq_length": True}),
    "settings that are a list": ("sentence_bert_config.json", []),
    "own settings that are no JSON": ("config_sentence_transformers.json", "{"),
}


def refusal(folder: Path) -> tuple[str, str]:
    with pytest.raises(DiagnosticError) as refused:
        inventory_for(tasks_on(folder))
    (problem,) = refused.value.diagnostics
    assert problem.where == "model.source"
    return problem.code, problem.message


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_says_nothing_readable_is_refused_by_its_name(tmp_path: Path, case: str) -> None:
    name, content = BROKEN[case]
    write(sentence_folder(tmp_path, MEAN) / name, content)
    code, message = refusal(tmp_path)
    assert code == "FP152"
    assert name.split("/")[0].partition("sentence_bert")[0] in message


KEYS = ("type", "path", "pooling_mode", "max_seq_length", "prompts", "default_prompt_name")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "path", "pooling_mode", "max_seq_length", "prompts"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(content=JSON, name=st.sampled_from([BROKEN[case][0] for case in BROKEN]))
def test_whatever_stands_in_a_file_there_is_a_source_or_a_diagnostic(
    tmp_path_factory: pytest.TempPathFactory, content: Any, name: str
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    write(folder / "config.json", {"model_type": "bert"})
    write(
        folder / "modules.json",
        [{"type": "Transformer", "path": ""}, {"type": "Pooling", "path": "1_Pooling"}],
    )
    write(folder / name, content)
    try:
        assert resolve_source(tasks_on(folder)).kind == "folder"
    except DiagnosticError as error:
        assert {item.code for item in error.diagnostics} == {"FP152"}
