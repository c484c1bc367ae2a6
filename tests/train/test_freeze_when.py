"""`[freeze_when]`: layers freeze from the bottom as they settle, within the plan, and the same after a stop."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from freezeplan.apply.driver import PhaseDriver
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.sources import inventory_for
from freezeplan.plan.compiling import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.prefix import Cut, find_cut
from freezeplan.prefix.refusal import Reason, Refused
from freezeplan.runs.events import Event, StepDone
from freezeplan.runs.position import Position
from freezeplan.runs.verify import verify_run
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.gradient_norms import GradientNorms
from freezeplan.train.resume import resume
from freezeplan.train.run import train
from freezeplan.train.settling import moving_layers, settled
from tests.train.tiny import toy_data, toy_spec

LAYERS = 4
PATHS = [f"backbone.encoder.layer.{layer}" for layer in range(LAYERS)]
RULES: dict[str, dict[str, Any]] = {
    "autofreeze": {"rule": "autofreeze", "percentile": 60.0},
    "egeria": {"rule": "egeria", "tolerance": 0.9},
}


@pytest.fixture(scope="module")
def deep(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the toy folder with a model of four layers in it."""
    folder = tmp_path_factory.mktemp("deep")
    shutil.copytree(toy, folder, dirs_exist_ok=True)
    config = BertConfig.from_pretrained(folder / "bert", num_hidden_layers=LAYERS)
    torch.manual_seed(1)
    BertModel(config).save_pretrained(folder / "bert")
    return folder


def spec_of(folder: Path, **when: Any) -> Spec:
    rules = [{"match": "**", "state": "trainable"}, {"match": "@pooler", "state": "frozen"}]
    task = {"name": "topic", "data": toy_data(folder, "topic")}
    train = {"epochs": 3, "batch_size": 16, "checkpoint_steps": 4}
    spec = toy_spec(
        folder, task=[task], rule=rules, optimizer={"lr": 1e-3}, freeze_when={"keep": 1, **when}, train=train
    )
    return load_spec(spec)


def sums(changes: list[float]) -> list[list[float]]:
    """Return the sums of two intervals between which layers change so, as shares."""
    return [[2.0, *(2.0 for _ in changes)], [1.0, *(1.0 + change for change in changes)]]


@pytest.fixture(scope="module")
def plan(deep: Path) -> Plan:
    spec = spec_of(deep, rule="autofreeze")
    return compile_plan(inventory_for(spec), spec)


def reached(plan: Plan, **position: Any) -> int | None:
    """Return up to which phase the layers have settled, given what was measured of them."""
    found = settled(plan, PATHS, Position(**position))
    return found and found.phase


@pytest.mark.parametrize(
    "changes, phase",
    [
        ([0.1, 0.2, 0.3, 0.4], 2),
        ([0.1, 0.4, 0.2, 0.3], 1),
        ([0.4, 0.1, 0.2, 0.3], None),
        ([0.2, 0.2, 0.2, 0.2], None),
        ([0.0, 0.0, 0.1, 0.2], 2),
    ],
)
def test_by_autofreeze_layers_settle_from_the_bottom_up_to_the_percentile(
    plan: Plan, changes: list[float], phase: int | None
) -> None:
    assert reached(plan, norms=sums(changes)) == phase
    # Whether a norm rises or falls makes no difference.
    assert reached(plan, norms=sums([-change for change in changes])) == phase


def test_only_layers_that_train_are_looked_at(plan: Plan) -> None:
    found = settled(plan, PATHS, Position(phase=2, norms=sums([0.1, 0.2])))
    assert found is not None and found.phase == 3
    assert "`layers 0-2 frozen`" in found.reason


def test_an_epoch_of_fewer_steps_than_intervals_settles_nothing(plan: Plan) -> None:
    empty, some = [0.0] * (LAYERS + 1), [1.0] * (LAYERS + 1)
    assert reached(plan, norms=[empty, some]) is None
    less = [1.0, 0.9, *some[2:]]
    assert reached(plan, norms=[empty, some, less]) is None
    more = [1.0, 1.0, 1.0, 0.9, 0.8]
    assert reached(plan, norms=[empty, some, more]) is not None


def test_every_interval_is_compared_with_the_one_before(plan: Plan) -> None:
    first, second = sums([0.1, 0.2, 0.3, 0.4])
    later = [1.0, *second[1:3], second[3] * 1.1, second[4] * 1.2]
    assert reached(plan, norms=[first, second, later]) == 3


def test_gradients_of_every_epoch_of_a_phase_are_counted_and_can_be_resumed() -> None:
    position, layer = Position(), torch.nn.Parameter(torch.ones(2))
    layer.grad = torch.tensor([3.0, 4.0])
    norms = GradientNorms([[layer]], 2, position)
    for step in range(4):
        norms.see(step, 4)
    assert position.norms == [[2.0, 10.0], [2.0, 10.0]]
    position.complete_epoch({})
    norms.see(0, 4)
    GradientNorms([[layer]], 2, position).see(1, 4)
    assert position.norms == [[2.0, 10.0], [0.0, 0.0]]


def test_by_egeria_layers_settle_whose_outputs_change_little_beside_what_they_did(deep: Path) -> None:
    spec = spec_of(deep, tolerance=0.5)
    plan = compile_plan(inventory_for(spec), spec)
    first = [[1.0, 2.0, 0.1, 1.0]] * 2
    assert _by_outputs(plan, *first) is None, "the first epoch shows the most so far"
    assert _by_outputs(plan, *first, *[[0.5, 1.0, 0.05, 0.4]] * 2) == 2, "at most half of what is left"
    assert _by_outputs(plan, *first, *[[0.5, 1.0, 0.05, 0.4]] * 2, phase=2) == 3, "the top layer is kept"
    assert _by_outputs(plan, *first, *[[0.5, 1.1, 0.01, 0.1]] * 2) == 1, "from the bottom"
    assert _by_outputs(plan, *first, *[[0.6, 0.1, 0.0, 0.0]] * 2) is None
    assert _by_outputs(plan, *first, [0.6, 0.1, 0.0, 0.0], [0.1] * 4) is None, "throughout an epoch"
    assert _by_outputs(plan, [2.0, 1.0, 0.1, 1.0], *[[1.0, 1.9, 0.1, 1.0]] * 2) == 1, (
        "the most, not the first"
    )


def _by_outputs(plan: Plan, *intervals: list[float], phase: int = 0) -> int | None:
    changes = [dict(zip(PATHS, changes, strict=True)) for changes in intervals]
    return reached(plan, changes=changes, phase=phase)


def test_a_stack_that_feeds_the_one_that_freezes_freezes_whole_with_its_first_layer() -> None:
    config = {
        "model_type": "t5",
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 16,
        "num_layers": 3,
        "num_heads": 2,
        "vocab_size": 40,
    }
    when = {"over": ["decoder.@layers"], "keep": 1}
    rules = [{"match": "**", "state": "trainable"}]
    values = {"model": {"config": config, "class": "T5Model"}, "rule": rules, "freeze_when": when}
    spec = load_spec({**values, "train": {"epochs": 3}})
    inventory = inventory_for(spec)
    plan = compile_plan(inventory, spec)
    paths = moving_layers(plan, inventory.stacks)
    assert paths == ("decoder.block.0", "decoder.block.1", "decoder.block.2")
    later = {paths[0]: 0.1, paths[1]: 0.9, paths[2]: 0.9}
    changes = [dict.fromkeys(paths, 1.0), later, later]
    found = settled(plan, paths, Position(changes=changes))
    assert found is not None and plan.phases[found.phase].name == "layer 0 frozen"


class Stop:
    """Stop a run once, after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepDone) and event.step == self.step:
            raise KeyboardInterrupt


@pytest.fixture(scope="module", params=list(RULES))
def when(request: pytest.FixtureRequest) -> dict[str, Any]:
    return RULES[request.param]


@pytest.fixture(scope="module")
def whole(deep: Path, when: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    result = train(spec_of(deep, **when), folder)
    assert (result.status, result.epoch) == ("finished", 3)
    return folder


def weights(run: Path) -> dict[str, torch.Tensor]:
    return {
        key: value for file in sorted(run.glob("*.safetensors")) for key, value in load_file(file).items()
    }


@pytest.mark.parametrize("step", [5, 9])
def test_a_stop_leads_to_the_same_phases_and_bits(
    deep: Path, tmp_path: Path, when: dict[str, Any], whole: Path, step: int
) -> None:
    stopped = train(spec_of(deep, **when), tmp_path / "run", Stop(step))
    assert stopped.status == "interrupted"
    assert resume(tmp_path / "run").status == "finished"
    mine, theirs = weights(tmp_path / "run"), weights(whole)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    assert phases(tmp_path / "run") == phases(whole)


def phases(run: Path) -> list[tuple[str, int, str]]:
    evidence = json.loads((run / "evidence.json").read_text("utf-8"))
    return [(item["phase"], item["steps"], item["ended"]) for item in evidence["phases"]]


def test_the_evidence_says_what_froze_and_why(when: dict[str, Any], whole: Path) -> None:
    found = phases(whole)
    assert len(found) > 1
    assert sum(steps for _, steps, _ in found) == 18
    assert found[-1][2] == "complete"
    assert all(why.startswith(f"{when['rule']} goes on to `layer") for _, _, why in found[:-1])
    assert verify_run(whole).holds


def test_phases_that_are_passed_over_take_no_step(
    deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freezeplan.train.settling.still_by_outputs", lambda *seen: (set(PATHS[:3]), 0.5))
    train(spec_of(deep), tmp_path / "run")
    assert [(name, steps) for name, steps, _ in phases(tmp_path / "run")] == [
        ("all that the rules train", 6),
        ("layer 0 frozen", 0),
        ("layers 0-1 frozen", 12),
    ]
    first, last = (json.loads(line)["rates"] for line in _steps(tmp_path / "run", (1, 18)))
    assert max(last.values()) == pytest.approx(1e-3 / 18)
    assert max(first.values()) == 1e-3


@pytest.mark.parametrize("batch, intervals, advice", [(16, 12, "intervals = 6"), (96, 2, "smaller batches")])
def test_epochs_without_intervals_are_refused_before_the_first_step(
    deep: Path, tmp_path: Path, batch: int, intervals: int, advice: str
) -> None:
    spec = spec_of(deep, rule="autofreeze", intervals=intervals)
    spec = spec.model_copy(update={"train": spec.train.model_copy(update={"batch_size": batch})})
    with pytest.raises(DiagnosticError) as caught:
        train(spec, tmp_path / "run")
    assert [item.code for item in caught.value.diagnostics] == ["FP219"]
    assert advice in (caught.value.diagnostics[0].help or "")
    assert not (tmp_path / "run" / "run.json").exists()


def test_only_phases_that_take_steps_are_searched_for_a_cut(
    deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []

    def search(*given: Any, **more: Any) -> Cut:
        searched.append(more["trainable"])
        return find_cut(*given, **more)

    monkeypatch.setattr("freezeplan.train.execution.find_cut", search)
    monkeypatch.setattr("freezeplan.train.settling.still_by_outputs", lambda *seen: (set(PATHS[:3]), 0.5))
    train(spec_of(deep), tmp_path / "run")
    assert len(searched) == len([steps for _, steps, _ in phases(tmp_path / "run") if steps])


def test_layers_that_put_out_no_states_are_refused_before_the_first_step(
    deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(output: object) -> torch.Tensor:
        raise Refused(Reason.NO_HIDDEN_STATES, "they return a dict")

    monkeypatch.setattr("freezeplan.train.plasticity.hidden_output", refuse)
    with pytest.raises(DiagnosticError) as caught:
        train(spec_of(deep), tmp_path / "run")
    assert [item.code for item in caught.value.diagnostics] == ["FP443"]
    assert "they return a dict" in caught.value.diagnostics[0].message
    assert not (tmp_path / "run" / "run.json").exists()


def test_layers_that_do_not_run_are_refused_before_the_first_step(
    deep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freezeplan.train.plasticity._watched", lambda *seen: nullcontext())
    with pytest.raises(DiagnosticError) as caught:
        train(spec_of(deep), tmp_path / "run")
    assert [item.code for item in caught.value.diagnostics] == ["FP443"]
    assert "`backbone.encoder.layer.0`" in caught.value.diagnostics[0].message
    assert not (tmp_path / "run" / "run.json").exists()


def _steps(run: Path, numbers: tuple[int, ...]) -> list[str]:
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    found = {
        record["step"]: line for line in lines if "losses" in (record := json.loads(line)) or "loss" in record
    }
    return [found[number] for number in numbers]


def test_a_host_that_sees_no_gradients_is_refused(plan: Plan) -> None:
    with pytest.raises(DiagnosticError) as caught:
        PhaseDriver(torch.nn.Linear(1, 1), plan, torch.optim.SGD([torch.zeros(1)]))
    assert caught.value.diagnostics[0].code == "FP443"
