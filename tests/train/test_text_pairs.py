"""Two texts per row: joined by the tokenizer, cut together, refused where nothing would stand between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from freezeplan.data.task_rows import load_task_data
from freezeplan.diagnostics import DiagnosticError
from freezeplan.spec.tables import Spec
from freezeplan.train.encoding import TextEncoder
from freezeplan.train.setup import prepare
from tests.train.tiny import save_tiny_bert, tiny_tokenizer, toy_spec, write_jsonl

NAMES = ("input_ids", "token_type_ids", "attention_mask")
ROWS = [
    {"a": "the box is great", "b": "a letter", "label": "x"},
    {"a": "my login", "b": "the box is here now", "label": "y"},
    {"a": "a letter", "b": "the box is great", "label": "x"},
]


def typed_tokenizer() -> Any:
    """Return the tiny tokenizer, which also tells the first text from the second."""
    inner = tiny_tokenizer().backend_tokenizer
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", model_input_names=list(NAMES)
    )


TOKENIZER = typed_tokenizer()


def spec_of(place: Path, rows: list[dict[str, Any]], **train: Any) -> Spec:
    write_jsonl(place / "rows.jsonl", rows)
    data = {"train": str(place / "rows.jsonl"), "text": "a", "text_pair": "b"}
    return toy_spec(place, task=[{"name": "t", "data": data}], train={"epochs": 1, "batch_size": 2} | train)


def test_both_texts_are_read_with_the_types_of_their_tokens(tmp_path: Path) -> None:
    save_tiny_bert(tmp_path / "bert")
    typed_tokenizer().save_pretrained(tmp_path / "bert")
    setup = prepare(spec_of(tmp_path, ROWS))
    inputs = setup.data["train"]["t"].inputs
    tokenizer = typed_tokenizer()
    for row, values in enumerate(ROWS):
        expected = tokenizer(values["a"], values["b"])
        for name in inputs.inputs:
            assert inputs.row(name, row).tolist() == expected[name]
    assert set(inputs.row("token_type_ids", 0).tolist()) == {0, 1}


def test_of_a_long_pair_the_longer_text_is_cut_and_it_is_said(tmp_path: Path) -> None:
    save_tiny_bert(tmp_path / "bert")
    setup = prepare(spec_of(tmp_path, ROWS, max_length=8))
    inputs = setup.data["train"]["t"].inputs
    assert (inputs.cut, inputs.widths.max()) == (3, 8)
    assert inputs.row("input_ids", 0).tolist().count(3) == 2
    (note,) = [item for item in setup.warnings if item.code == "FP477"]
    assert note.message.startswith("3 of 3 text pairs of `rows.jsonl` are cut at 8 tokens")


def test_a_slow_tokenizer_is_asked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, call = TextEncoder(typed_tokenizer(), NAMES, 64), TextEncoder._call
    pairs = [(row["a"], row["b"]) for row in ROWS]
    together = encoder.encode(pairs)

    def refusing(self: TextEncoder, texts: Any) -> Any:
        if len(texts) > 1:
            raise ValueError("one at a time")
        return call(self, texts)

    monkeypatch.setattr(TextEncoder, "_call", refusing)
    assert list(encoder.encode(pairs).digests()) == list(together.digests())


WORDS = st.lists(st.sampled_from(["the", "box", "a", "letter", "unheard-of", "so,so!"]), max_size=60).map(
    " ".join
)


@given(pair=st.tuples(WORDS, WORDS), most=st.integers(6, 12))
@example(pair=("the box " * 150, "a letter " * 150), most=10)
@example(pair=("the box " * 40, "a letter " * 30), most=10)
@example(pair=("the box " * 30, "a letter " * 40), most=10)
@example(pair=("so,so! " * 40, "a letter " * 100), most=10)
@example(pair=("the box " * 5, "a letter " * 6), most=16)
def test_pairs_are_cut_as_the_tokenizer_cuts_them(pair: tuple[str, str], most: int) -> None:
    first, second = ([text] for text in pair)
    whole = TOKENIZER(first, second)
    found = TextEncoder(TOKENIZER, NAMES, most).encode([pair])
    expected = TOKENIZER(first, second, truncation=True, max_length=most)
    assert found.cut == (len(whole["input_ids"][0]) > most)
    for name in NAMES:
        assert found.row(name, 0).tolist() == expected[name][0]


@pytest.mark.parametrize("words", [(20_000, 15_000), (15_000, 20_000), (20_000, 20_000), (20_000, 300)])
def test_very_long_pairs_are_not_cut_into_all_pairs_of_their_pieces(words: tuple[int, int]) -> None:
    encoder = TextEncoder(TOKENIZER, NAMES, 16)
    long, alike = (
        ("the box " * (one // by), "a letter " * (two // by)) for by in (1, 100) for one, two in [words]
    )
    assert all(len(text) < 200 for text in encoder._beginnings(long))
    found = encoder.encode([long])
    assert found.cut == 1
    assert found.row("input_ids", 0).tolist() == encoder.encode([alike]).row("input_ids", 0).tolist()


def test_a_tokenizer_that_puts_nothing_between_is_refused_at_the_key(tmp_path: Path) -> None:
    save_tiny_bert(tmp_path / "bert")
    tokenizer = typed_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save_pretrained(tmp_path / "bert")
    with pytest.raises(DiagnosticError) as caught:
        prepare(spec_of(tmp_path, ROWS))
    (found,) = caught.value.diagnostics
    assert (found.code, found.where) == ("FP478", "task[1].data.text_pair")


def test_rows_that_cannot_be_used_are_named_with_their_column(tmp_path: Path) -> None:
    bad = [*ROWS, {"a": "my login", "b": " ", "label": "y"}]
    with pytest.raises(DiagnosticError) as caught:
        load_task_data(spec_of(tmp_path, bad))
    (found,) = caught.value.diagnostics
    assert found.message == "column `b` of `rows.jsonl` holds blank text in line 4"
    with pytest.raises(DiagnosticError) as caught:
        load_task_data(spec_of(tmp_path, [{"a": "x", "c": "y", "label": "z"}]))
    (found,) = caught.value.diagnostics
    assert (found.code, found.where) == ("FP456", "task[1].data.text_pair")


def test_a_pair_turned_round_is_another_one(tmp_path: Path) -> None:
    (task,), _ = load_task_data(spec_of(tmp_path, ROWS))
    keys = task.splits["train"].inputs.keys()
    assert len(set(keys.tolist())) == 3
    assert task.splits["train"].inputs[0] == ("the box is great", "a letter")
