"""What a language model learns of a row: all of a text, completions, what the assistant says; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel

from freezeplan.data.modality import KINDS
from freezeplan.data.task_rows import load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.train.encoding import TextEncoder
from freezeplan.train.language import encode_language
from freezeplan.train.setup import Setup, prepare
from tests.train.language import (
    MARKED,
    MESSAGES,
    PROMPT,
    TEXT,
    TOP,
    TURNS,
    byte_tokenizer,
    language_spec,
    save_language_model,
)
from tests.train.tiny import tiny_tokenizer, write_jsonl

TALK = [
    {"role": "user", "content": "the box"},
    {"role": "assistant", "content": "is here"},
    {"role": "user", "content": "so"},
    {"role": "assistant", "content": "now"},
]
LAST_ALONE = (
    "{% for message in messages %}{{ '<|' + message.role + '|>' }}"
    "{% if loop.last %}{{ '!' }}{% endif %}{{ message.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def learned(rows: list[Any], form: str, template: str | None = None, length: int = 64) -> list[str]:
    """Return each row with what is learned of it in brackets."""
    tokenizer = byte_tokenizer(template)
    encoder = TextEncoder(tokenizer, ("input_ids", "attention_mask"), length, len(tokenizer))
    encoded = encode_language(encoder, rows, KINDS[form])
    assert not encoded.flaws
    found = []
    for row in range(len(rows)):
        ids, marks = (encoded.row(name, row).tolist() for name in ("input_ids", "learned"))
        text, before = "", 0
        for number, mark in zip(ids, marks, strict=True):
            text += "[" * (mark > before) + "]" * (mark < before) + tokenizer.decode([number])
            before = mark
        found.append(text + "]" * before)
    return found


def test_all_of_a_text_is_learned_and_its_end() -> None:
    assert learned(["the box", "so<|end|>"], "text") == ["[the box<|end|>]", "[so<|end|>]"]


def test_a_text_that_is_cut_has_no_end() -> None:
    (found,) = learned(["the box is here again and again"], "text", length=3)
    assert found.endswith("]") and "<|end|>" not in found


def test_the_completion_alone_is_learned() -> None:
    assert learned([("the box", " is here")], "prompt") == ["the box[ is here<|end|>]"]


def test_a_token_that_prompt_and_completion_share_is_learned() -> None:
    # `here` is one token, which neither `he` nor `re` holds.
    assert learned([("the box is he", "re")], "prompt") == ["the box is[ here<|end|>]"]


@pytest.mark.parametrize("template", [TURNS, MARKED], ids=["by what turns add", "by marks"])
def test_what_the_assistant_says_is_learned(template: str) -> None:
    (found,) = learned([TALK], "messages", template)
    assert found == (
        "<|user|>the box<|end|><|assistant|>[is here<|end|>]<|user|>so<|end|><|assistant|>[now<|end|>]"
    )


def test_a_template_that_writes_earlier_turns_otherwise_is_a_flaw() -> None:
    tokenizer = byte_tokenizer(LAST_ALONE)
    encoder = TextEncoder(tokenizer, ("input_ids",), 64, len(tokenizer))
    flaws = encode_language(encoder, [TALK], KINDS["messages"]).flaws.rows()
    assert flaws[1].what == "a conversation that the chat template writes otherwise once it goes on"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model for conversations."""
    folder = tmp_path_factory.mktemp("language")
    save_language_model(folder / "model", "llama", TURNS)
    return folder


def prepared(
    place: Path, rows: list[Any], columns: dict[str, str], rule: list[Any] = TOP, **train: Any
) -> Setup:
    write_jsonl(place / "train.jsonl", rows)
    write_jsonl(place / "validation.jsonl", [rows[0]])
    return prepare(language_spec(place, place / "model", columns, rule=rule, train={"epochs": 1} | train))


def refusal(call: Any) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        call()
    return caught.value.diagnostics[0]


@pytest.mark.parametrize(
    ("columns", "row", "what"),
    [
        (TEXT, {"text": " "}, "blank text in line 2"),
        (PROMPT, {"prompt": "a", "completion": ""}, "blank text in line 2"),
        (PROMPT, {"prompt": None, "completion": "a"}, "null (no text) in line 2"),
        (PROMPT, {"prompt": "a", "completion": [TALK[1]]}, "a list in line 2"),
        (MESSAGES, {"messages": "hello"}, "text in line 2"),
        (MESSAGES, {"messages": []}, "an empty list in line 2"),
        (MESSAGES, {"messages": [{"role": "user"}]}, "a message without `content` in line 2"),
        (
            MESSAGES,
            {"messages": [{"role": "user", "content": 3}]},
            "a message whose `content` is a number in line 2",
        ),
        (MESSAGES, {"messages": TALK[:1]}, "a conversation in which the assistant says nothing in line 2"),
    ],
)
def test_rows_that_cannot_be_learned_are_named_with_their_line(
    place: Path, columns: dict[str, str], row: dict[str, Any], what: str
) -> None:
    good = {"text": "the box", "prompt": "the", "completion": " box", "messages": TALK}
    write_jsonl(place / "train.jsonl", [good, row])
    write_jsonl(place / "validation.jsonl", [good])
    found = refusal(lambda: load_task_data(language_spec(place, place / "model", columns)))
    assert found.code == "FP457" and what in found.message


def test_conversations_in_csv_are_texts_of_json(place: Path) -> None:
    (place / "talk.csv").write_text("messages\n" + '"' + json.dumps(TALK).replace('"', '""') + '"\n', "utf-8")
    spec = language_spec(place, place / "model", MESSAGES)
    data = spec.task[0].data.model_copy(update={"train": [str(place / "talk.csv")], "validation": None})
    task = spec.task[0].model_copy(update={"data": data})
    (found,), _ = load_task_data(spec.model_copy(update={"task": [task]}))
    assert list(found.splits["train"].inputs) == [TALK]


def test_completions_that_are_wholly_cut_off_are_counted_and_said(place: Path) -> None:
    rows = [{"prompt": "a", "completion": " box"}, {"prompt": "the box is here " * 3, "completion": " now"}]
    setup = prepared(place, rows, PROMPT, max_length=8)
    messages = [item.message for item in setup.warnings if item.code == "FP477"]
    assert "what is learned of 1 of 2 rows of `train.jsonl` is wholly cut off at 8 tokens" in messages
    split = setup.data["train"]["story"]
    assert split.kind.terms(split.targets, [1]) == 0 and split.kind.terms(split.targets, [0]) > 0


def test_where_all_are_cut_off_there_is_nothing_to_learn(place: Path) -> None:
    rows = [{"prompt": "the box is here " * 3, "completion": " now"}]
    found = refusal(lambda: prepared(place, rows, PROMPT, max_length=8))
    assert found.code == "FP465" and "there is nothing to learn" in found.message


def test_conversations_need_a_chat_template(tmp_path: Path) -> None:
    save_language_model(tmp_path / "model", "llama")
    found = refusal(lambda: prepared(tmp_path, [{"messages": TALK}], MESSAGES))
    assert (found.code, found.where) == ("FP478", "task[1].data.messages")


def test_a_tokenizer_without_an_end_is_said(tmp_path: Path) -> None:
    save_language_model(tmp_path / "model", "llama", eos_token_id=None, bos_token_id=None)
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path / "model")
    setup = prepared(tmp_path, [{"text": "the box"}], TEXT)
    assert ("FP483", "model.source") in [(item.code, item.where) for item in setup.warnings]


def test_a_model_that_sees_what_comes_after_is_refused(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        is_decoder=True,
    )
    torch.manual_seed(3)
    BertLMHeadModel(config).save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    rules = [{"match": "**", "state": "trainable"}]
    assert prepared(tmp_path, [{"text": "the box"}], TEXT, rules).steps == 1
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"is_decoder": False}), "utf-8")
    found = refusal(lambda: prepared(tmp_path, [{"text": "the box"}], TEXT, rules))
    assert (found.code, found.where) == ("FP183", "task[1].kind")
    assert "sees the tokens that come after" in found.message


def test_a_base_model_begins_with_a_random_head_and_says_so(tmp_path: Path) -> None:
    folder = save_language_model(tmp_path / "model", "llama")
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    setup = prepared(tmp_path, [{"text": "the box"}], TEXT)
    (found,) = [item for item in setup.warnings if item.code == "FP484"]
    assert "`heads.story.lm_head.weight` begins at random" in found.message


@pytest.mark.parametrize(
    ("task", "code", "where"),
    [
        ({"head": "linear"}, "FP138", "task[1].head"),
        ({"dropout": 0.1}, "FP138", "task[1].dropout"),
        ({"labels": ["a", "b"]}, "FP113", "task[1].labels"),
        ({"data": {"train": "a.jsonl", "label": "topic"}}, "FP115", "task[1].data.label"),
        ({"data": {"train": "a.jsonl", "completion": "answer"}}, "FP115", "task[1].data.completion"),
        ({"data": {"train": "a.jsonl", "text": "a", "messages": "b"}}, "FP115", "task[1].data.messages"),
        ({"data": {"train": "a.jsonl", "prompt": "completion"}}, "FP115", "task[1].data.prompt"),
        ({"kind": "regression", "data": {"train": "a.jsonl", "prompt": "a"}}, "FP115", "task[1].data.prompt"),
    ],
)
def test_keys_without_effect_are_errors(task: dict[str, Any], code: str, where: str) -> None:
    import freezeplan

    values = {
        "task": [{"name": "t", "kind": "causal_lm"} | task],
        "rule": [{"match": "**", "state": "frozen"}],
    }
    with pytest.raises(DiagnosticError) as caught:
        freezeplan.load_spec(values)
    assert (code, where) in [(item.code, item.where) for item in caught.value.diagnostics]
