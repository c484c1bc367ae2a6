"""Tags of words: at the first piece of each, counted where they are lost, refused where words cannot be told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from freezeplan.data.task_rows import load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.models.loading import load_model
from freezeplan.spec.tables import Spec
from freezeplan.tasks.token_classification import IGNORED
from freezeplan.train.setup import Setup, prepare
from tests.train.tiny import save_tiny_bert, toy_spec, write_jsonl

ROWS = [
    {"tokens": ["the", "boxes", "is"], "tags": ["O", "B-x", "I-x"]},
    {"tokens": ["my", "\u200b", "login", "now"], "tags": ["O", "B-x", "I-x", "O"]},
    {"tokens": ["here"], "tags": ["B-y"]},
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with the tiny model, whose tokenizer cuts `boxes` and drops what has no width."""
    save_tiny_bert(tmp_path / "bert")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path / "bert")
    inner = tokenizer.backend_tokenizer
    words = inner.get_vocab()
    vocabulary = {word: number for word, number in words.items() if word != "so"} | {"##es": words["so"]}
    inner.model = models.WordPiece(vocabulary, unk_token="[UNK]")
    inner.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace("\u200b", "")])
    tokenizer.save_pretrained(tmp_path / "bert")
    return tmp_path


def spec_of(place: Path, rows: list[Any], task: dict[str, Any] | None = None, **train: Any) -> Spec:
    write_jsonl(place / "rows.jsonl", rows)
    data = {"train": str(place / "rows.jsonl"), "tokens": "tokens", "tags": "tags"}
    tasks = [{"name": "t", "kind": "token_classification", "data": data} | (task or {})]
    return toy_spec(place, task=tasks, train={"epochs": 1, "batch_size": 2} | train)


def tags_at(setup: Setup, row: int) -> list[str | None]:
    """Return the tag that each token of a row carries."""
    split = setup.data["train"]["t"]
    codes = split.target([row], torch.device("cpu"))[0].tolist()
    return [None if code == IGNORED else split.labels[code] for code in codes]


def refusal(spec: Spec, call: Any = prepare) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        call(spec)
    (found,) = caught.value.diagnostics
    return found


def test_the_first_piece_of_a_word_carries_its_tag(place: Path) -> None:
    setup = prepare(spec_of(place, ROWS))
    tokenizer = setup.encoder.tokenizer
    ids = setup.data["train"]["t"].inputs.row("input_ids", 0).tolist()
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "the", "box", "##es", "is", "[SEP]"]
    assert tags_at(setup, 0) == [None, "O", "B-x", None, "I-x", None]


def test_words_that_are_dropped_or_cut_are_counted_and_said(place: Path) -> None:
    setup = prepare(spec_of(place, ROWS))
    assert tags_at(setup, 1) == [None, "O", "I-x", "O", None]
    (note,) = [item for item in setup.warnings if item.code == "FP477"]
    assert note.message == "1 of 8 words of `rows.jsonl` has no token: they are cut off or dropped"
    setup = prepare(spec_of(place, ROWS, max_length=4))
    assert tags_at(setup, 1) == [None, "O", "I-x", None]
    messages = [item.message for item in setup.warnings if item.code == "FP477"]
    assert messages[0].startswith("2 of 3 texts of `rows.jsonl` are cut at 4 tokens")
    assert messages[1].startswith("3 of 8 words of `rows.jsonl` have no token")


def test_the_head_reads_the_state_of_each_token(place: Path) -> None:
    spec = spec_of(place, ROWS)
    model, _ = load_model(spec)
    model.eval()
    batch = {
        "input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]]),
        "attention_mask": torch.ones(2, 4).long(),
    }
    batch["attention_mask"][1, 3] = 0
    with torch.no_grad():
        out = model(task="t", **batch)
        states = model.backbone(**batch).last_hidden_state
        expected = model.heads["t"](states)
    real = batch["attention_mask"].bool()
    assert out.shape == (2, 4, 4)
    assert torch.allclose(out[real], expected[real])


def byte_level(place: Path, *, space: bool) -> None:
    """Put a tokenizer of bytes in the place of the model's, with a blank before the first word or without."""
    letters = ["[PAD]", "\u0120", *sorted(set("helloworldtheboxesismyloginnow"))]
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    inner = Tokenizer(models.BPE(vocabulary, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    inner.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]").save_pretrained(place / "bert")


def test_a_tokenizer_that_glues_words_is_refused_at_the_key(place: Path) -> None:
    byte_level(place, space=False)
    found = refusal(spec_of(place, ROWS))
    assert (found.code, found.where) == ("FP478", "task[1].data.tokens")
    assert "glues words" in found.message and "add_prefix_space=True" in str(found.help)


@pytest.mark.parametrize(
    ("row", "code", "what"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "FP458", "another number of tags than of words in line 4"),
        ({"tokens": "a b", "tags": ["O"]}, "FP457", "column `tokens` of `rows.jsonl` holds text in line 4"),
        ({"tokens": [], "tags": []}, "FP457", "holds a list without any word in line 4"),
        ({"tokens": ["a", ""], "tags": ["O", "O"]}, "FP457", "holds a list with blank text in line 4"),
        ({"tokens": ["a"], "tags": "O"}, "FP458", "column `tags` of `rows.jsonl` holds text in line 4"),
        ({"tokens": ["a"], "tags": [None]}, "FP458", "holds a list with null (no label) in line 4"),
    ],
)
def test_rows_that_cannot_be_used_are_named_with_their_line(
    place: Path, row: dict[str, Any], code: str, what: str
) -> None:
    found = refusal(spec_of(place, [*ROWS, row]), load_task_data)
    assert found.code == code and what in found.message


def test_a_tag_that_is_not_known_is_refused_with_its_line(place: Path) -> None:
    found = refusal(spec_of(place, ROWS, {"labels": ["B-x", "I-x", "O"]}), load_task_data)
    assert found.code == "FP459" and "the label `B-y` (line 3)" in found.message
