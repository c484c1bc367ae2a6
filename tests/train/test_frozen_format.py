"""Runs whose frozen weights rest in half the space: files, evidence, the store, prediction, resuming."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from freezeplan.apply.fingerprints import sha256
from freezeplan.apply.formats import computes_in
from freezeplan.diagnostics import DiagnosticError
from freezeplan.export.exporting import export
from freezeplan.models.run_weights import weights_of_run
from freezeplan.runs.events import ExecutionChosen, StepDone
from freezeplan.runs.verify import verify_run
from freezeplan.spec.tables import Spec
from freezeplan.train.predict import predict
from freezeplan.train.resume import resume
from freezeplan.train.run import RunResult, train
from freezeplan.train.saved_run import load_run
from tests.train.phased import TOP, assert_same_tree, phased_spec
from tests.train.tiny import save_tiny_bert, write_toy_data

PHASES = [{"name": "heads", "epochs": 1}, {"name": "top", "epochs": 2, "rule": [TOP]}]


def narrow_spec(toy: Path, narrow: str | None = "bfloat16", **train: Any) -> Spec:
    """Return a spec with two phases whose weights that never train rest in half the space."""
    table = {"batch_size": 16, "mixing": "joint", **train}
    spec = phased_spec(toy, PHASES, optimizer={"lr": 5e-3}, train=table)
    return spec.model_copy(update={"model": spec.model.model_copy(update={"frozen_dtype": narrow})})


@dataclass(frozen=True)
class Made:
    """A toy folder, the folder of a run with the store, and what the run gave."""

    toy: Path
    out: Path
    result: RunResult
    statements: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    toy = tmp_path_factory.mktemp("toy")
    save_tiny_bert(toy / "bert")
    write_toy_data(toy)
    chosen: list[str] = []
    result = train(
        narrow_spec(toy),
        toy / "run",
        lambda event: chosen.append(event.statement) if isinstance(event, ExecutionChosen) else None,
    )
    return Made(toy, toy / "run", result, chosen)


def test_what_never_trains_is_kept_in_half_the_space_and_proved_by_its_hashes(made: Made) -> None:
    formats = {
        item.dtype for path in made.out.rglob("frozen-*.safetensors") for item in load_file(path).values()
    }
    assert formats == {torch.bfloat16}
    trained = {
        item.dtype for path in made.out.rglob("trained-*.safetensors") for item in load_file(path).values()
    }
    assert trained == {torch.float32}
    evidence = made.result.evidence
    assert evidence is not None and evidence.holds and verify_run(made.out).holds
    tensors, source = weights_of_run(made.out), load_file(made.toy / "bert" / "model.safetensors")
    frozen = [item for item in evidence.tensors if item.kind == "parameter" and item.frozen]
    assert frozen and all(item.after == item.before == sha256(tensors[item.name]) for item in frozen)
    for item in frozen:
        assert torch.equal(tensors[item.name], source[item.name.removeprefix("backbone.")].bfloat16())


def test_a_run_is_that_of_a_model_whose_frozen_weights_were_rounded(made: Made, tmp_path: Path) -> None:
    spec = narrow_spec(made.toy, None)
    rounded = {name: item.float() for name, item in weights_of_run(made.out).items()}
    source = load_file(made.toy / "bert" / "model.safetensors")
    from transformers import BertModel

    model = BertModel.from_pretrained(made.toy / "bert")
    kept = {item.name for item in made.result.evidence.tensors if item.kind == "parameter" and item.frozen}
    state = {
        name: rounded[f"backbone.{name}"] if f"backbone.{name}" in kept else source[name] for name in source
    }
    model.load_state_dict(state)
    model.save_pretrained(tmp_path / "bert")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "bert" / name).write_bytes((made.toy / "bert" / name).read_bytes())
    other = spec.model_copy(
        update={"model": spec.model.model_copy(update={"source": str(tmp_path / "bert")})}
    )
    result = train(other, tmp_path / "run")
    assert result.validation == made.result.validation and result.test == made.result.test
    ours, theirs = weights_of_run(made.out), weights_of_run(tmp_path / "run")
    assert all(torch.equal(item.float(), theirs[name]) for name, item in ours.items())


def test_the_store_holds_what_the_rounded_weights_give(made: Made, tmp_path: Path) -> None:
    assert all(statement.startswith("stored ") for statement in made.statements)
    result = train(narrow_spec(made.toy, store="off"), tmp_path / "off")
    for task, scores in made.result.validation.items():
        assert scores["loss"] == pytest.approx(result.validation[task]["loss"], abs=1e-4)


def test_a_resumed_run_ends_in_the_same_bits(made: Made, tmp_path: Path) -> None:
    seen: list[object] = []

    def stop(event: object) -> None:
        if isinstance(event, StepDone):
            seen.append(event)
            if len(seen) == 14:
                raise KeyboardInterrupt

    assert train(narrow_spec(made.toy), tmp_path / "run", stop).status == "interrupted"
    assert resume(tmp_path / "run").status == "finished"
    assert_same_tree(tmp_path / "run", made.out)


def test_a_run_that_was_read_back_rests_and_answers_as_it_did(made: Made) -> None:
    run = load_run(made.out)
    resting = {name for name, item in run.model.named_parameters() if computes_in(item) is not None}
    kept = {item.name for item in made.result.evidence.tensors if item.kind == "parameter" and item.frozen}
    assert resting == kept
    rows = [json.loads(line) for line in (made.toy / "test.jsonl").read_text("utf-8").splitlines()]
    found = list(predict(made.out, [row["text"] for row in rows]))
    hits = [answer["topic"]["label"] == row["topic"] for answer, row in zip(found, rows, strict=True)]
    assert sum(hits) / len(hits) == pytest.approx(made.result.test["topic"]["accuracy"])


def test_an_export_holds_whole_weights_and_gives_the_same_answers(made: Made, tmp_path: Path) -> None:
    found = export(made.out, "sentence-transformers", tmp_path / "out")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert {item.dtype for item in written.values()} == {torch.float32} and found.difference <= 1e-5


def test_another_format_is_another_plan(made: Made) -> None:
    spec = (made.out / "spec.toml").read_text("utf-8")
    assert 'frozen_dtype = "bfloat16"' in spec
    with pytest.raises(DiagnosticError) as caught:
        resume(made.out, spec=narrow_spec(made.toy, None))
    assert "FP5" in caught.value.diagnostics[0].code
