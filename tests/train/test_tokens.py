"""Tokens in compact form: the numbers are those that went in, whatever the form they lie in."""

from __future__ import annotations

import os
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

from freezeplan.data import spool
from freezeplan.diagnostics import DiagnosticError
from freezeplan.spec.tables import Spec
from freezeplan.train.encoding import TextEncoder, check_tokenizer, longest_text, make_text_encoder
from freezeplan.train.tokens import encoded_texts
from tests.train.tiny import SPECIAL, WORDS, tiny_tokenizer

ROWS = st.lists(st.lists(st.integers(0, 70_000), min_size=1, max_size=9), min_size=1, max_size=9)
CPU = torch.device("cpu")
VOCABULARY = len(SPECIAL) + len(WORDS)


def backbone(rows: int = VOCABULARY, positions: int = 64) -> BertModel:
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    return BertModel(BertConfig(vocab_size=rows, max_position_embeddings=positions, **size))


def encoder(max_length: int = 8, tokenizer: Any = None, **model: int) -> TextEncoder:
    return make_text_encoder(tokenizer or tiny_tokenizer(), backbone(**model), max_length)


@given(ROWS, st.booleans(), st.sampled_from([None, 70_001, 1 << 16]))
def test_what_went_in_comes_out(rows: list[list[int]], masked: bool, vocabulary: int | None) -> None:
    mask = [[int(masked and place > 0) for place, _ in enumerate(row)] for row in rows]
    found = encoded_texts({"input_ids": rows, "attention_mask": mask})
    assert [found.row("input_ids", place).tolist() for place in range(len(rows))] == rows
    assert [found.row("attention_mask", place).tolist() for place in range(len(rows))] == mask
    assert found.lengths.tolist() == [sum(row) for row in mask]
    width = max(map(len, rows))
    padded = found.padded("input_ids", range(len(rows)), 3).tolist()
    assert padded == [row + [3] * (width - len(row)) for row in rows]


@given(ROWS, ROWS)
def test_hashes_are_equal_exactly_when_the_numbers_are(one: list[list[int]], other: list[list[int]]) -> None:
    first, second = encoded_texts({"input_ids": one}), encoded_texts({"input_ids": other})
    assert (first.digest() == second.digest()) == (one == other)
    assert (list(first.digests()) == list(second.digests())) == (one == other)


def test_numbers_beyond_the_budget_lie_in_a_file_that_has_no_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(spool, "BUDGET", 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = [[5, 6, 7], [8], [70_000]]
    found = encoded_texts({"input_ids": rows})
    assert isinstance(found.inputs["input_ids"].values, numpy.memmap)
    assert [found.row("input_ids", place).tolist() for place in range(3)] == rows
    assert os.listdir(tmp_path) == []


def test_a_full_temporary_folder_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool.tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(spool.NoRoom, match="cannot take more: no space left on device"):
        spool.Spool(2).append(b"abc")


def test_ids_of_few_kinds_take_two_bytes_and_a_mask_of_ones_none() -> None:
    found = encoder().encode(["great screen", "my box"])
    assert found.inputs["input_ids"].values.dtype == numpy.uint16
    assert found.inputs["attention_mask"].values is None
    assert encoder().batch(found, [1, 0], CPU)["attention_mask"].tolist() == [[1] * 4, [1] * 4]


def test_texts_that_are_cut_are_counted() -> None:
    words = [" ".join(["box"] * count) for count in (5, 6, 7, 40)]
    found = encoder(max_length=8).encode(words)
    assert (found.cut, found.widths.tolist()) == (2, [7, 8, 8, 8])


def test_a_long_text_is_tokenised_as_far_as_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = encoder(max_length=8), []
    call = type(made.tokenizer).__call__
    monkeypatch.setattr(
        type(made.tokenizer),
        "__call__",
        lambda self, texts, **k: seen.extend(texts) or call(self, texts, **k),
    )
    long = "box screen " * 100_000
    found = made.encode([long, " " * 500_000 + long])
    assert max(map(len, seen[:2])) <= 1 << 16
    assert found.row("input_ids", 0).tolist() == found.row("input_ids", 1).tolist()
    assert found.cut == 2


def test_tokens_beyond_the_embedding_are_flaws_of_their_rows() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["brandnew"])
    found = encoder(tokenizer=tokenizer).encode(["my box", "brandnew box"]).flaws.rows()
    assert list(found) == [2]
    assert f"beyond the {VOCABULARY} rows" in found[2].what
    assert found[2].detail == f"`brandnew` has the number {VOCABULARY}"


def test_texts_that_the_tokenizer_refuses_are_flaws_of_their_rows() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.model.unk_token = "[NONE]"
    found = encoder(tokenizer=tokenizer).encode(["my box", "zebra", "great screen"])
    assert {row: flaw.what for row, flaw in found.flaws.rows().items()} == {
        2: "text that the tokenizer refuses"
    }


def test_a_tokenizer_that_gives_no_mask_gets_one() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.model_input_names = ["input_ids"]
    made = encoder(tokenizer=tokenizer)
    batch = made.batch(made.encode(["my box", "box"]), [0, 1], CPU)
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]


@pytest.mark.parametrize("names", ["input_ids", None, ["input_ids", "nonsense"]])
def test_odd_input_names_do_no_harm(names: Any) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.model_input_names = names
    assert encoder(tokenizer=tokenizer).names == ("input_ids", "attention_mask")


def error_of(call: Any) -> Any:
    with pytest.raises(DiagnosticError) as caught:
        call()
    (found,) = caught.value.diagnostics
    return found


def test_a_padding_token_beyond_the_embedding_is_refused() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    size = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 32}
    made = make_text_encoder(tokenizer, GPT2Model(GPT2Config(vocab_size=VOCABULARY, **size)), 8)
    found = error_of(lambda: check_tokenizer(Spec(), made))
    assert (found.code, f"`<pad>` has the number {VOCABULARY}" in found.message) == ("FP478", True)


def test_an_input_that_is_not_a_number_per_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = encoder()
    monkeypatch.setattr(
        type(made.tokenizer),
        "__call__",
        lambda *_, **__: {"input_ids": [[2, 3]], "attention_mask": [[[1, 1], [1, 1]]]},
    )
    found = error_of(lambda: check_tokenizer(Spec(), made))
    assert (found.code, "`attention_mask`" in found.message) == ("FP478", True)


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, 64), (0, 64), (-1, 64), ("512", 64), (1e30, 64), (16, 16)]
)
def test_a_tokenizers_limit_that_is_no_number_is_none(limit: Any, expected: int) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = limit
    assert longest_text(Spec(), tokenizer, backbone()) == expected


def test_a_model_without_room_for_a_text_is_refused() -> None:
    found = error_of(lambda: longest_text(Spec(), tiny_tokenizer(), backbone(positions=2)))
    assert (found.code, "no room" in found.message) == ("FP465", True)


def test_a_full_disk_under_the_tokenizer_is_an_error_of_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    made = encoder()

    def save(self: Any, folder: Any) -> None:
        raise Exception("No space left on device (os error 28)")

    monkeypatch.setattr(type(made.tokenizer), "save_pretrained", save)
    with pytest.raises(OSError) as caught:
        made.save(tmp_path)
    assert caught.value.errno == 28
