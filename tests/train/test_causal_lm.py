"""Language models with their own head: what is learned is what transformers would, however steps are divided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from benchmarks.same_batches import trainer_on
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.loading import load_model
from freezeplan.models.run_weights import weights_of_run
from freezeplan.models.sources import inventory_for
from freezeplan.outside.quiet import quiet
from freezeplan.plan import compile_plan
from freezeplan.runs.events import StepDone
from freezeplan.spec.tables import Spec
from freezeplan.train.evaluation import evaluate
from freezeplan.train.forward import Forward
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from freezeplan.train.setup import Setup, prepare
from tests.train.language import (
    CONFIGS,
    MESSAGES,
    PROMPT,
    TEXT,
    TOP,
    TURNS,
    language_spec,
    language_task,
    save_language_model,
    write_language_data,
)
from tests.train.phased import assert_same_tree
from tests.train.ranked import on_two_ranks, write_spec
from tests.train.stored import Ran
from tests.train.test_loop import make_loop
from tests.train.test_run import interrupt_at
from tests.train.tiny import toy_data

EVERYTHING = [{"match": "**", "state": "trainable"}]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with rows and a model of each architecture; no test may change it."""
    folder = write_language_data(tmp_path_factory.mktemp("language"))
    for kind in CONFIGS:
        save_language_model(folder / kind, kind, TURNS)
    return folder


def stock_batch(setup: Setup, rows: range) -> dict[str, torch.Tensor]:
    """Return rows as transformers takes them: -100 in the place of what is not learned."""
    split = setup.data["train"]["story"]
    batch = setup.encoder.batch(split.inputs, rows, torch.device("cpu"))
    learned = torch.from_numpy(split.inputs.padded("learned", rows, 0))
    return batch | {"labels": batch["input_ids"].masked_fill(learned == 0, -100)}


@pytest.mark.parametrize("columns", [TEXT, PROMPT, MESSAGES], ids=["text", "prompt", "messages"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_the_loss_and_its_gradients_are_those_of_transformers(
    place: Path, kind: str, columns: dict[str, str]
) -> None:
    setup = prepare(language_spec(place, place / kind, columns, rule=EVERYTHING))
    setup.model.eval()
    split, rows = setup.data["train"]["story"], range(6)
    out = Forward(setup.model, setup.encoder, torch.device("cpu")).outputs("story", split, rows)
    loss = split.kind.loss(out, split.target(rows, torch.device("cpu"))) / split.kind.terms(
        split.targets, rows
    )
    loss.backward()
    stock = transformers.AutoModelForCausalLM.from_pretrained(place / kind).eval()
    expected = stock(**stock_batch(setup, rows)).loss
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    own = dict(setup.model.backbone.named_parameters())
    prefix = f"{stock.base_model_prefix}."
    for name, tensor in stock.named_parameters():
        ours = own.get(name.removeprefix(prefix))
        ours = setup.model.heads["story"].get_parameter(name) if ours is None else ours
        assert torch.allclose(ours.grad, tensor.grad, atol=1e-6), name


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_step_has_the_same_gradient_however_it_is_divided(place: Path, kind: str) -> None:
    found = []
    for accumulation in (1, 2, 4):
        table = {"batch_size": 16 // accumulation, "accumulation": accumulation, "length_buckets": False}
        setup = prepare(language_spec(place, place / kind, PROMPT, rule=EVERYTHING, train=table))
        setup.model.eval()
        loop = make_loop(setup)
        loss = loop.accumulate_gradients(loop.course.parts(0))
        gradients = torch.cat([tensor.grad.flatten() for tensor in loop.ever_trained])
        found.append((loss["story"].item(), gradients))
    for loss, gradients in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-6)
        assert torch.allclose(gradients, found[0][1], atol=1e-6)


def phases(kind: str) -> list[dict[str, Any]]:
    """Return two phases: the last layer, then also the one below and, where it is not the embedding, the head."""
    more = ["@layers[-2:]", *(["@heads"] if kind == "llama" else [])]
    return [
        {"name": "top", "epochs": 1},
        {"name": "more", "epochs": 1, "rule": [{"match": more, "state": "trainable"}]},
    ]


@pytest.mark.parametrize(
    ("kind", "columns"), [("gpt2", TEXT), ("llama", PROMPT), ("qwen3", MESSAGES), ("gemma2", PROMPT)]
)
def test_the_store_changes_nothing_beyond_rounding(
    place: Path, tmp_path: Path, kind: str, columns: dict[str, str]
) -> None:
    stored, plain = (
        Ran(
            language_spec(
                place,
                place / kind,
                columns,
                phase=phases(kind),
                optimizer={"name": "sgd", "lr": 0.05},
                train={"batch_size": 8, "store": store},
            ),
            tmp_path / store,
        )
        for store in ("require", "off")
    )
    assert [text.split(",")[0] for text in stored.statements] == [
        "stored prefix k=2 of 3",
        "stored prefix k=1 of 3",
    ]
    assert stored.distance(plain) <= 1e-5


@pytest.mark.parametrize("store", ["require", "off"])
def test_stopped_and_resumed_is_never_stopped(place: Path, tmp_path: Path, store: str) -> None:
    table = {"batch_size": 8, "checkpoint_steps": 2, "store": store}
    spec = language_spec(place, place / "llama", PROMPT, phase=phases("llama"), train=table)
    train(spec, tmp_path / "whole")

    def at_step(event: Any) -> bool:
        return isinstance(event, StepDone) and event.step == 9

    assert train(spec, tmp_path / "run", interrupt_at(at_step, [])).status == "interrupted"
    assert resume(tmp_path / "run").status == "finished"
    assert_same_tree(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_two_ranks_equal_one_process(place: Path, tmp_path: Path) -> None:
    optimizer = {"name": "sgd", "lr": 0.02, "momentum": 0.9}
    table = {"epochs": 2, "batch_size": 9, "accumulation": 2}
    spec = language_spec(place, place / "llama", PROMPT, rule=EVERYTHING, optimizer=optimizer, train=table)
    ran = on_two_ranks(
        "tests.train.ranked_work", "keep", write_spec(spec, tmp_path / "s.toml"), tmp_path / "two"
    )
    assert ran.returncode == 0, ran.stderr
    one, two = train(spec, tmp_path / "one"), weights_of_run(tmp_path / "two")
    for name, value in weights_of_run(tmp_path / "one").items():
        assert torch.allclose(value, two[name], atol=1e-5), name
    scores = json.loads((tmp_path / "two" / "run.json").read_text("utf-8"))["scores"]["validation"]["scores"]
    assert scores["story"] == pytest.approx(one.validation["story"], abs=1e-4)


def test_a_model_learns_and_its_scores_are_those_of_its_tokens(place: Path, tmp_path: Path) -> None:
    spec = language_spec(place, place / "gpt2", rule=EVERYTHING, train={"epochs": 6, "batch_size": 8})
    before = prepare(spec)
    first = evaluate(Forward(before.model, before.encoder, torch.device("cpu")), before.data["validation"], 8)
    result = train(spec, tmp_path / "run")
    last = result.validation["story"]
    assert last["perplexity"] < first["story"]["perplexity"] / 4
    assert last["perplexity"] == pytest.approx(torch.tensor(last["loss"]).exp().item(), rel=1e-5)
    assert last["accuracy"] > first["story"]["accuracy"] + 0.1
    assert result.evidence is not None and result.evidence.holds


def test_evaluation_does_not_depend_on_the_batches(place: Path) -> None:
    setup = prepare(language_spec(place, place / "llama", PROMPT))
    forward = Forward(setup.model, setup.encoder, torch.device("cpu"))
    scores = [evaluate(forward, setup.data["validation"], size)["story"] for size in (1, 5, 16)]
    assert scores[0] == pytest.approx(scores[2], rel=1e-5)
    assert scores[1] == pytest.approx(scores[2], rel=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_run_is_the_source_of_another(place: Path, tmp_path: Path, kind: str) -> None:
    first = train(language_spec(place, place / kind, rule=EVERYTHING, train={"epochs": 1}), tmp_path / "run")
    task = language_task(place, "other", **PROMPT)
    spec = language_spec(place, first.folder, task=[task])
    model, record = load_model(spec)
    assert record.fresh == ()
    old = weights_of_run(first.folder)
    assert torch.equal(
        model.heads["other"].get_parameter("lm_head.weight"),
        old.get("heads.story.lm_head.weight", old.get("backbone.wte.weight")),
    )
    assert train(spec, tmp_path / "on").status == "finished"


def test_a_tied_head_and_its_embedding_are_one_tensor_that_rules_must_agree_on(place: Path) -> None:
    rules = [*TOP, {"name": "head", "match": "@heads", "state": "trainable"}]
    spec = language_spec(place, place / "qwen3", rule=rules)
    with pytest.raises(DiagnosticError, match="FP305"):
        compile_plan(inventory_for(spec), spec)
    alone = language_spec(place, place / "llama")
    assert "FP405" not in [item.code for item in compile_plan(inventory_for(alone), alone).diagnostics]
    untied = language_spec(place, place / "llama", rule=rules)
    plan = compile_plan(inventory_for(untied), untied)
    assert "heads.story.lm_head.weight" in plan.names(trainable=True)


def test_a_classification_head_stands_beside_it(place: Path, tmp_path: Path) -> None:
    topic = {"name": "topic", "data": {**toy_data(place, "topic")}, "dropout": 0.0}
    del topic["data"]["test"]
    tasks = [language_task(place), topic]
    rules = [*TOP, {"match": "heads.topic", "state": "trainable"}]
    table = {"epochs": 2, "batch_size": 8, "mixing": "joint"}
    spec = language_spec(place, place / "gpt2", task=tasks, rule=rules, train=table)
    result = train(spec, tmp_path / "run")
    assert {name: tuple(scores) for name, scores in result.validation.items()} == {
        "story": ("perplexity", "accuracy", "loss"),
        "topic": ("accuracy", "macro_f1", "loss"),
    }


def test_two_tasks_share_the_one_head(place: Path, tmp_path: Path) -> None:
    tasks = [language_task(place), language_task(place, "chat", **PROMPT)]
    rules = [*TOP, {"match": "@heads", "state": "trainable"}]
    spec = language_spec(place, place / "llama", task=tasks, rule=rules, train={"epochs": 1, "batch_size": 8})
    result = train(spec, tmp_path / "run")
    assert result.evidence is not None and result.evidence.holds
    model, record = load_model(Spec.model_validate({"model": {"source": str(result.folder)}, "task": tasks}))
    assert model.heads["story"] is model.heads["chat"] and record.fresh == ()


def test_the_end_of_a_phase_goes_by_perplexity(place: Path, tmp_path: Path) -> None:
    until = {"metric": "story/perplexity", "patience": 1, "max_epochs": 3, "restore_best": True}
    spec = language_spec(
        place, place / "llama", phase=[{"name": "top", "until": until}], train={"batch_size": 8}
    )
    assert train(spec, tmp_path / "run").status == "finished"


def test_a_run_ends_where_transformers_trainer_does(place: Path, tmp_path: Path) -> None:
    table = {"epochs": 1, "batch_size": 8, "clip_norm": 1.0}
    schedule = {"name": "constant"}
    spec = language_spec(place, place / "llama", PROMPT, schedule=schedule, train=table)
    setup = prepare(spec)
    trained = set(setup.plan.names(0, trainable=True))
    stock = transformers.AutoModelForCausalLM.from_pretrained(place / "llama")
    for name, tensor in stock.model.named_parameters():
        tensor.requires_grad_(f"backbone.{name}" in trained)
    stock.lm_head.requires_grad_(False)
    setup.encoder.tokenizer.pad_token = "<|end|>"
    with quiet():
        trainer_on(setup, stock, str(tmp_path / "trainer")).train()
    train(spec, tmp_path / "run")
    theirs = dict(stock.model.named_parameters())
    before, _ = load_model(spec)
    for name, tensor in weights_of_run(tmp_path / "run").items():
        if name in trained:
            moved = (tensor - before.get_parameter(name)).abs().max()
            apart = (tensor - theirs[name.removeprefix("backbone.")]).abs().max()
            assert apart <= 1e-2 * moved, name
