"""The benchmarks of the store: what they compare is the same training, and their sums are right."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch

from benchmarks.against_trainer import Case, lines
from benchmarks.gradual_store import apart
from benchmarks.minilm import TASK, rules_of
from benchmarks.our_run import Epoch, OurRun, Stamp, Watch, run_of
from benchmarks.plain_limits import batches_of, lower_half, run_lower, run_whole, upper_half
from benchmarks.stock_trainer import our_order, stock_trainer
from benchmarks.timing import Clock, in_turns, median_ratio
from freezeplan.models.run_weights import weights_of_run
from freezeplan.outside.quiet import quiet
from freezeplan.runs.events import EpochDone, ExecutionChosen, Finished, StepDone
from freezeplan.train.run import train
from freezeplan.train.setup import Setup, prepare
from tests.train.tiny import save_tiny_bert, toy_data, toy_spec, write_toy_data

FROZEN = ["@embeddings", "@layers[:1]"]


def setup_of(folder: Path) -> Setup:
    """Return a tiny training without dropout, its lower half frozen."""
    save_tiny_bert(folder / "bert")
    config = folder / "bert" / "config.json"
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config.write_text(json.dumps(json.loads(config.read_text("utf-8")) | dropout), "utf-8")
    write_toy_data(folder, train=40)
    data = {"train": toy_data(folder, "topic")["train"], "label": "topic"}
    tables = {
        "model": {"source": str(folder / "bert"), "pooling": "mean"},
        "optimizer": {"lr": 0.01},
        "schedule": {"name": "constant"},
        "rule": rules_of(FROZEN),
        "task": [{"name": TASK, "data": data, "dropout": 0.0}],
        "train": {"epochs": 1, "batch_size": 8, "seed": 3},
    }
    return prepare(toy_spec(folder, **tables))


def test_the_trainer_on_our_batches_ends_with_our_weights(tmp_path: Path) -> None:
    setup = setup_of(tmp_path)
    trainer = stock_trainer(setup, "cpu", "sequential", str(tmp_path / "theirs"))
    with quiet():
        trainer.train()
    theirs = trainer.model.model.state_dict()
    before = setup.model.state_dict()
    result = train(setup.spec, tmp_path / "ours")
    assert result.status == "finished"
    ours = weights_of_run(tmp_path / "ours")
    moved = {name for name in ours if not torch.equal(ours[name], before[name].cpu())}
    assert moved and all("layer.0." not in name and "embeddings" not in name for name in moved)
    # A key's bias changes nothing, so its gradient is rounding, which AdamW scales up.
    for name in ours.keys() - {"backbone.encoder.layer.1.attention.self.key.bias"}:
        torch.testing.assert_close(ours[name], theirs[name].cpu(), rtol=0, atol=1e-5)


def test_our_order_takes_every_sentence_once(tmp_path: Path) -> None:
    assert sorted(our_order(setup_of(tmp_path))) == list(range(40))


def test_the_halves_cut_by_hand_are_the_whole(tmp_path: Path) -> None:
    setup = setup_of(tmp_path)
    model = setup.model.eval()
    batches = batches_of(setup, [range(8), range(8, 20)])
    upper = upper_half(model, 1)
    for batch, hidden, pooled in zip(
        batches, run_lower(lower_half(model, 1), batches), run_whole(model, batches), strict=True
    ):
        found = upper.pool(inputs_embeds=hidden, attention_mask=batch["attention_mask"])
        assert torch.equal(found, pooled)


def test_a_ratio_is_of_times_that_were_taken_together() -> None:
    assert median_ratio([1.0, 20.0, 30.0], [1.0, 5.0, 30.0]) == 1.0
    with pytest.raises(ValueError, match="longer"):
        median_ratio([1.0], [1.0, 2.0])


def test_repeats_begin_with_another_work_each() -> None:
    order: list[str] = []
    in_turns({name: lambda name=name: order.append(name) for name in "abc"}, 2)
    assert "".join(order) == "abcbca"


def epoch_done(number: int) -> EpochDone:
    return EpochDone(number, 2, number, {TASK: 0.5}, {}, {}, Path())


def test_a_run_is_taken_apart_by_its_stamps() -> None:
    step = StepDone(1, 1, 2, {}, {})
    events = [
        (ExecutionChosen("all", "stored", {}), 2.0),
        (step, 2.5),
        (step, 3.0),
        (epoch_done(1), 4.0),
        (step, 4.25),
        (epoch_done(2), 5.0),
        (Finished(Path(), {}), 5.5),
    ]
    run = run_of([Stamp(event, seconds) for event, seconds in events])
    assert [(epoch.choosing, epoch.steps, epoch.saving) for epoch in run.epochs] == [
        (2.0, 1.0, 1.0),
        (0.0, 0.25, 0.75),
    ]
    assert (run.seconds, run.rest, run.statements, run.later_steps) == (5.5, 0.5, ("stored",), 0.25)


class Ticking(Clock):
    """Count one second more at each look."""

    ticks = itertools.count()

    def read(self) -> float:
        return float(next(Ticking.ticks))


def test_what_happens_between_epochs_is_not_counted() -> None:
    clock = Ticking("cpu")
    watch = Watch(clock, between=lambda: [clock.read() for _ in range(100)])
    watch.start = clock.read()
    watch(epoch_done(1))
    watch(epoch_done(2))
    assert [stamp.seconds for stamp in watch.stamps] == [1.0, 2.0]


def run(*later: float, first: float = 10.0) -> OurRun:
    return OurRun((Epoch(first, 0.5, 0.5), *(Epoch(0.0, 0.5, seconds - 0.5) for seconds in later)), 1.0)


def case(name: str, theirs: float, ours: dict[int, list[OurRun]]) -> Case:
    return Case(name, dict.fromkeys(("as it comes", "bucketed", "our batches"), [theirs]), ours)


def test_epochs_count_by_the_median_on_both_sides() -> None:
    measured = case("nothing frozen", 4.0, {3: [run(2.0, 99.0)], 1: [run()]})
    assert measured.ratio("bucketed", 3) == 3 * 4.0 / (10.0 + 3 * 2.0 + 1.0)
    assert measured.ratio("bucketed", 10) == 10 * 4.0 / (10.0 + 10 * 2.0 + 1.0)
    assert measured.ratio("bucketed", 1) == 4.0 / (10.0 + 1.0 + 1.0)
    assert measured.later("bucketed") == 4.0 / 0.5


def test_a_missed_target_is_called_missed() -> None:
    fast, slow = (case("nothing frozen", theirs, {2: [run(1.0, first=0.0)]}) for theirs in (1.3, 1.0))
    assert "NOT" not in "\n".join(lines(fast))
    assert sum("NOT reached" in line for line in lines(slow)) == 2


def scored(loss: float, validation: float, accuracy: float) -> OurRun:
    scores = {TASK: {"loss": validation, "accuracy": accuracy}}
    return OurRun((Epoch(0, 0, 0, {TASK: 0.5}, scores), Epoch(0, 0, 0, {TASK: loss}, scores)), 0.0)


def test_runs_that_differ_are_not_called_the_same() -> None:
    assert ": the same" in apart(scored(0.25, 0.5, 0.75), scored(0.25, 0.5, 0.75)).line
    assert "NOT the same" in apart(scored(0.25, 0.5, 0.75), scored(0.26, 0.5, 0.75)).line
    assert "NOT the same" in apart(scored(0.25, 0.5, 0.75), scored(0.25, 0.51, 0.75)).line
