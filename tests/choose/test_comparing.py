"""A comparison of ways of freezing a tiny network: verifiable runs, halving, going on after a stop, the verdict."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import numpy
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from freezeplan.choose import comparing, preparing
from freezeplan.choose.comparing import Limits, compare, rungs_of
from freezeplan.choose.comparison_files import FILE, read_comparison
from freezeplan.choose.comparison_records import StrategyComparison, comparison_from_record
from freezeplan.choose.judging import Contender, close_to_best, difference, judged
from freezeplan.choose.ladder import next_trials
from freezeplan.choose.outcomes import Outcome, share_of_hits
from freezeplan.choose.strategies import StrategyRates, candidate_text, rates_of, strategies_for
from freezeplan.cli.program import program
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.models.sources import inventory_for
from freezeplan.plan.compiling import compile_plan
from freezeplan.runs.events import Event, Working
from freezeplan.runs.verify import verify_run
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import OptimizerTable, Spec
from freezeplan.train.run import train
from tests.train.language import PROMPT, language_spec, save_language_model, write_language_data
from tests.train.targets import tasks_of_every_kind, write_targets
from tests.train.tiny import toy_data, toy_spec

NAMES = ("features", "heads", "gradual", "all")
LANGUAGE_NAMES = ["top1", "top2", "gradual", "embeddings_frozen", "llrd", "all"]


def spec_of(toy: Path) -> Spec:
    task = {"name": "topic", "data": toy_data(toy, "topic"), "dropout": 0.0}
    rules = [{"match": "backbone", "state": "frozen"}, {"match": "heads", "state": "trainable", "lr": 0.01}]
    train = {"epochs": 3, "batch_size": 32}
    return load_spec(toy_spec(toy, task=[task], rule=rules, optimizer={"lr": 1e-3}, train=train))


@pytest.fixture(scope="module")
def compared(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[StrategyComparison, Path]:
    folder = tmp_path_factory.mktemp("compared") / "comparison"
    return compare(spec_of(toy), folder, NAMES, thorough=True), folder


def test_each_candidate_is_a_run_that_verifies(compared: tuple[StrategyComparison, Path]) -> None:
    found, folder = compared
    runs = sorted(item.name for item in (folder / "runs").iterdir())
    assert runs == sorted(f"{name}-13" for name in NAMES)
    assert all(verify_run(folder / "runs" / run).holds for run in runs)


def test_the_worse_half_is_stopped_early(compared: tuple[StrategyComparison, Path]) -> None:
    found, _ = compared
    at = {epochs: [t.candidate for t in found.trials if t.epochs == epochs] for epochs in found.rungs}
    assert {epochs: len(names) for epochs, names in at.items()} == {1: 3, 2: 2, 3: 1}
    assert set(at[3]) < set(at[2]) < set(at[1])
    scores = {t.candidate: t.scores["topic"] for t in found.trials if t.epochs == 1}
    assert min(scores[name] for name in at[2]) >= max(scores[name] for name in set(at[1]) - set(at[2]))


def test_the_features_run_scores_what_the_probe_found(compared: tuple[StrategyComparison, Path]) -> None:
    found, folder = compared
    probe = json.loads((folder / "probe.json").read_text("utf-8"))
    features = next(item for item in found.trials if item.candidate == "features")
    assert features.scores["topic"] == probe["tasks"][0]["depths"][-1]["score"]
    run = json.loads((folder / "runs" / "features-13" / "run.json").read_text("utf-8"))
    assert run["status"] == "finished"


def test_warm_heads_begin_with_the_probe_and_cold_ones_do_not(
    compared: tuple[StrategyComparison, Path],
) -> None:
    found, folder = compared
    sources = {item.name: load_spec(folder / item.spec).model.source for item in found.candidates}
    assert sources["heads"].endswith("runs/features-13")
    assert not sources["all"].endswith("features-13")
    assert {item.name: item.warm for item in found.candidates}["all"] is False


def test_a_comparison_reads_back_as_it_was_written(compared: tuple[StrategyComparison, Path]) -> None:
    found, folder = compared
    assert read_comparison(folder) == found
    for broken in ({}, [], None, {"format_version": 2}):
        with pytest.raises((ValueError, TypeError)):
            comparison_from_record(broken)


def test_going_on_after_it_is_finished_changes_nothing(
    toy: Path, compared: tuple[StrategyComparison, Path]
) -> None:
    found, folder = compared
    before = (folder / FILE).read_bytes()
    again = compare(spec_of(toy), folder, NAMES, thorough=True)
    assert again.verdict == found.verdict
    assert (folder / FILE).read_bytes() == before


@pytest.mark.parametrize("at", ["heads: trained 1", "gradual: training"])
def test_a_stop_leads_to_the_same_verdict_and_bits(
    toy: Path, tmp_path: Path, compared: tuple[StrategyComparison, Path], at: str
) -> None:
    stopped = False

    def stop(event: Event) -> None:
        nonlocal stopped
        if not stopped and isinstance(event, Working) and event.what.startswith(at):
            stopped = True
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(spec_of(toy), tmp_path / "c", NAMES, observer=stop, thorough=True)
    found = compare(spec_of(toy), tmp_path / "c", NAMES, thorough=True)
    whole, folder = compared
    assert [(t.candidate, t.epochs, t.scores) for t in found.trials] == [
        (t.candidate, t.epochs, t.scores) for t in whole.trials
    ]
    assert found.verdict is not None and whole.verdict is not None
    assert (found.verdict.best, found.verdict.chosen) == (whole.verdict.best, whole.verdict.chosen)
    for name in ("heads-13", "gradual-13"):
        mine, theirs = (weights(place / "runs" / name) for place in (tmp_path / "c", folder))
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def weights(run: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in sorted(run.glob("*.safetensors")):
        found |= load_file(file)
    return found


def test_a_result_that_was_lost_is_found_again_to_the_bit(
    toy: Path, tmp_path: Path, compared: tuple[StrategyComparison, Path]
) -> None:
    whole, folder = compared
    shutil.copytree(folder, tmp_path / "c")
    record = json.loads((folder / FILE).read_text("utf-8"))
    lost = record["trials"].pop()
    record["verdict"] = None
    (tmp_path / "c" / FILE).write_text(json.dumps(record), "utf-8")
    found = compare(spec_of(toy), tmp_path / "c", NAMES, thorough=True)
    assert found.trials[-1].scores == lost["scores"]


def test_the_chosen_spec_is_written_and_compiles(toy: Path, tmp_path: Path) -> None:
    spec = toy / "compared.toml"
    spec.write_text(SPEC, "utf-8")
    out = tmp_path / "chosen.toml"
    arguments = ["compare", str(spec), "--strategies", "features", "--out", str(tmp_path / "c")]
    found = CliRunner().invoke(program, [*arguments, "--write", str(out)], standalone_mode=False)
    assert found.exception is None, found.exception
    assert "choose " in found.stdout
    assert "predicted" in found.stderr
    written = load_spec(out)
    assert "# Chosen by `freezeplan compare`" in out.read_text("utf-8")
    assert compile_plan(inventory_for(written), written).params
    # What is written stands for the run that was chosen: its heads are the linear probes.
    assert written.model.source == "./c/runs/features-13"
    again = train(written, tmp_path / "again")
    scores = json.loads((tmp_path / "c" / FILE).read_text("utf-8"))["trials"][0]["scores"]
    assert again.validation["topic"]["accuracy"] == scores["topic"]


SPEC = """
[model]
source = "bert"

[[rule]]
match = "**"
state = "trainable"

[[rule]]
match = "@pooler"
state = "frozen"

[[task]]
name = "topic"
data = { train = "train.jsonl", validation = "validation.jsonl", label = "topic" }

[train]
epochs = 1
"""


def test_more_seeds_are_run_for_those_that_are_close(toy: Path, tmp_path: Path) -> None:
    limits = Limits(seeds=2)
    found = compare(spec_of(toy), tmp_path / "c", ("features", "heads"), limits, thorough=True)
    assert {(t.candidate, t.seed) for t in found.trials} == {("features", 13), ("heads", 13), ("heads", 14)}
    assert load_spec(tmp_path / "c" / "specs" / "heads-14.toml").train.seed == 14
    assert found.verdict is not None
    assert {row.candidate: row.seeds for row in found.verdict.rows} == {"features": 1, "heads": 2}


def test_a_budget_is_kept(toy: Path, tmp_path: Path) -> None:
    found = compare(spec_of(toy), tmp_path / "c", ("features", "all"), Limits(seconds=1e-9))
    assert [t.candidate for t in found.trials] == ["features"]
    assert "no time was left" in str({c.name: c.left_out for c in found.candidates}["all"])
    small = compare(spec_of(toy), tmp_path / "c", ("features", "all"), Limits(bytes=160 * 1024))
    assert "memory" in str({c.name: c.left_out for c in small.candidates}["all"])
    assert error_of(spec_of(toy), tmp_path / "e", ("all",), Limits(seconds=1e-9)) == "FP596"


def error_of(spec: Spec, folder: Path, names: tuple[str, ...] = (), limits: Limits | None = None) -> str:
    with pytest.raises(DiagnosticError) as caught:
        compare(spec, folder, names, limits)
    return caught.value.diagnostics[0].code


def test_a_larger_budget_goes_on(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match="FP596"):
        compare(spec_of(toy), tmp_path / "c", ("heads",), Limits(seconds=1e-9), thorough=True)
    found = compare(spec_of(toy), tmp_path / "c", ("heads",), Limits(seconds=1e9), thorough=True)
    assert [(t.candidate, t.epochs) for t in found.trials] == [("heads", 1), ("heads", 2), ("heads", 3)]
    assert found.candidates[0].left_out is None


def test_a_candidate_that_fails_is_left_out_and_the_others_go_on(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = comparing.advance

    def failing(spec: Path, folder: Path, *rest: object) -> object:
        if folder.name == "heads-13":
            raise DiagnosticError([diagnostic("FP503", "the loss is nan")])
        return real(spec, folder, *rest)

    monkeypatch.setattr(comparing, "advance", failing)
    found = compare(spec_of(toy), tmp_path / "c", ("features", "heads"), thorough=True)
    assert found.verdict is not None
    assert found.verdict.chosen == "features"
    assert found.candidates[1].left_out == "it failed: the loss is nan"


def begun(
    spec: Spec, folder: Path, names: tuple[str, ...], limits: Limits | None = None
) -> StrategyComparison:
    """Return a comparison as it is announced, before its first trial."""
    seen: list[StrategyComparison] = []

    def stop(found: StrategyComparison) -> None:
        seen.append(found)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(spec, folder, names, limits, announce=stop)
    return seen[0]


def test_what_trains_more_is_predicted_to_take_more(toy: Path, tmp_path: Path) -> None:
    found = begun(spec_of(toy), tmp_path / "c", ("features", "heads", "top1", "embeddings_frozen", "all"))
    flops = [item.flops for item in found.candidates]
    assert flops[0] == 0
    assert flops[:3] == sorted(set(flops[:3]))
    assert flops[2] < flops[3] <= flops[4]
    assert all(item.peak_bytes == 0 for item in found.candidates)


def test_memory_is_predicted_where_it_is_limited(toy: Path, tmp_path: Path) -> None:
    found = begun(spec_of(toy), tmp_path / "c", ("heads", "all"), Limits(bytes=1 << 40))
    assert 0 < found.candidates[0].peak_bytes < found.candidates[1].peak_bytes


def test_trials_are_short_runs_from_the_middle_of_the_ladder_on(toy: Path, tmp_path: Path) -> None:
    spec = spec_of(toy)
    found = compare(spec, tmp_path / "c", ("features", "heads", "top1", "gradual", "lp_ft", "all"))
    assert found.rungs == [1]
    tried = [trial.candidate for trial in found.trials]
    assert tried[:3] == ["features", "top1", "lp_ft"]
    items = {item.name: item for item in found.candidates}
    assert all(items[name].untried for name in ("heads", "gradual", "all"))
    assert "lp_ft stands for it" in str(items["all"].left_out)
    whole, trial = (load_spec(tmp_path / "c" / file) for file in (items["top1"].spec, items["top1"].trial))
    assert (whole.train.epochs, trial.train.epochs) == (3, 1)
    assert all(trial.peak_bytes > 0 for trial in found.trials)
    assert verify_run(tmp_path / "c" / "runs" / "top1-13").holds
    again = compare(spec, tmp_path / "c", ("features", "heads", "top1", "gradual", "lp_ft", "all"))
    assert (again.verdict, again.trials) == (found.verdict, found.trials)


def test_a_stop_between_trials_leads_to_the_same_verdict_and_bits(toy: Path, tmp_path: Path) -> None:
    names, spec = ("features", "top1", "lp_ft"), spec_of(toy)
    whole = compare(spec, tmp_path / "whole", names)

    def stop(event: Event) -> None:
        if isinstance(event, Working) and event.what.startswith("lp_ft: loading the model"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(spec, tmp_path / "c", names, observer=stop)
    found = compare(spec, tmp_path / "c", names)
    assert [(t.candidate, t.scores) for t in found.trials] == [(t.candidate, t.scores) for t in whole.trials]
    assert found.verdict is not None and whole.verdict is not None
    assert (found.verdict.best, found.verdict.chosen) == (whole.verdict.best, whole.verdict.chosen)
    mine, theirs = (weights(tmp_path / place / "runs" / "lp_ft-13") for place in ("c", "whole"))
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(
    "scores, clear, expected",
    [
        ({"features": 0.5}, False, ["top2", "lp_ft"]),
        ({"features": 0.5, "top2": 0.6, "lp_ft": 0.7}, False, ["top4"]),
        ({"features": 0.5, "top2": 0.7, "lp_ft": 0.6}, False, ["top1", "top4"]),
        ({"features": 0.8, "top2": 0.7, "lp_ft": 0.6}, False, ["top1"]),
        ({"features": 0.8, "top1": 0.7, "top2": 0.7, "lp_ft": 0.6}, False, []),
        ({"features": 0.5, "top2": 0.6, "top4": 0.6, "lp_ft": 0.7}, True, ["llrd"]),
        ({"features": 0.5, "top2": 0.6, "top4": 0.6, "lp_ft": 0.7}, False, []),
    ],
)
def test_the_ladder_is_climbed_beside_the_best(
    scores: dict[str, float], clear: bool, expected: list[str]
) -> None:
    names = ["features", "heads", "top1", "top2", "top4", "gradual", "llrd", "lp_ft", "all"]
    assert next_trials(names, scores, clear=clear) == expected


def test_a_score_of_the_spec_weighs_the_tasks(toy: Path, tmp_path: Path) -> None:
    tasks = [{"name": name, "data": toy_data(toy, name)} for name in ("topic", "mood")]
    weights = {"topic/accuracy": 3.0, "mood/accuracy": 1.0}
    train = {"epochs": 1, "batch_size": 32, "score": weights}
    spec = load_spec(toy_spec(toy, task=tasks, train=train))
    found = compare(spec, tmp_path / "c", ("features",))
    scores = found.trials[0].scores
    assert found.verdict is not None
    assert found.verdict.rows[0].score == pytest.approx((3 * scores["topic"] + scores["mood"]) / 4)
    other = load_spec(toy_spec(toy, task=tasks, train={**train, "score": {"topic/macro_f1": 1.0}}))
    assert error_of(other, tmp_path / "d") == "FP594"


def test_two_texts_are_compared_though_they_have_no_heads(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = write_targets(tmp_path_factory.mktemp("pairs"), train=48, other=24)
    (task,) = [item for item in tasks_of_every_kind(folder) if item["name"] == "alike"]
    spec = toy_spec(folder, rule=[{"match": "**", "state": "frozen"}], task=[task], train={"epochs": 1})
    found = compare(load_spec(spec), tmp_path / "c", ("features", "top1"))
    assert [(t.candidate, t.epochs) for t in found.trials] == [("features", 0), ("top1", 1)]


def test_language_models_are_compared_by_their_perplexity_where_less_is_better(tmp_path: Path) -> None:
    # The head of this one is its embeddings.
    folder, model = write_language_data(tmp_path), save_language_model(tmp_path / "model", "gpt2")
    spec = load_spec(language_spec(folder, model, PROMPT))
    found = compare(spec, tmp_path / "c")
    assert [item.name for item in found.candidates] == LANGUAGE_NAMES
    assert found.verdict is not None
    for trial in found.trials:
        measured = json.loads((tmp_path / "c" / trial.run / "run.json").read_text("utf-8"))["scores"]
        assert trial.scores["story"] == pytest.approx(measured["validation"]["scores"]["story"]["perplexity"])
    by_perplexity = sorted(found.trials, key=lambda trial: trial.scores["story"])
    assert [row.candidate for row in found.verdict.rows] == [trial.candidate for trial in by_perplexity]
    assert found.verdict.rows[0].score == pytest.approx(-by_perplexity[0].scores["story"])
    assert all(row.short >= 0.0 and row.error > 0.0 for row in found.verdict.rows)
    assert not (tmp_path / "c" / "probe.json").exists()
    assert all(item.flops > 0 and item.seconds > 0 for item in found.candidates)


def test_what_cannot_be_compared_is_refused(
    toy: Path, tmp_path: Path, compared: tuple[StrategyComparison, Path]
) -> None:
    _, folder = compared
    assert error_of(spec_of(toy), folder, ("heads",)) == "FP593"
    assert error_of(spec_of(toy), tmp_path / "x", ("heads", "top3")) == "FP595"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("", "utf-8")
    assert error_of(spec_of(toy), tmp_path / "other", NAMES) == "FP593"
    assert [item.name for item in (tmp_path / "other").iterdir()] == ["thesis.tex"]
    data = toy_data(toy, "mood")
    del data["validation"]
    tasks = [{"name": "topic", "data": toy_data(toy, "topic")}, {"name": "mood", "data": data}]
    assert error_of(load_spec(toy_spec(toy, task=tasks)), tmp_path / "y") == "FP594"


def test_a_name_that_no_model_has_is_refused_before_anything_runs(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "probed", None)
    with pytest.raises(DiagnosticError) as caught:
        compare(spec_of(toy), tmp_path / "x", ("heads", "lpft"))
    assert caught.value.diagnostics[0].code == "FP595"
    assert "`lp_ft`" in (caught.value.diagnostics[0].help or "")


@pytest.mark.parametrize("name, balanced", [("features", False), ("heads", False), ("top1", True)])
def test_gradients_are_balanced_where_something_shared_trains(toy: Path, name: str, balanced: bool) -> None:
    task = [{"name": name, "data": toy_data(toy, name)} for name in ("topic", "mood")]
    spec = load_spec(toy_spec(toy, task=task, train={"mixing": "joint", "balancing": "upgrad"}))
    inventory, rates = inventory_for(spec), StrategyRates()
    found = {item.name: item for item in strategies_for(inventory, inventory.stacks[0], rates, 3)}
    text = candidate_text(spec, found[name], rates, 3, toy, None, 13)
    candidate = load_spec(tomllib.loads(text) | {"model": {"source": str(toy / "bert")}})
    assert (candidate.train.balancing is not None) == balanced
    compile_plan(inventory, candidate)


def test_rates_are_those_of_the_specs_own_plan(toy: Path) -> None:
    spec = spec_of(toy)
    plan = compile_plan(inventory_for(spec), spec)
    rates = rates_of(spec, plan)
    assert (rates.backbone, rates.heads) == (5e-5, 0.01)
    unsaid = spec.model_copy(update={"optimizer": OptimizerTable()})
    assert rates_of(unsaid, plan).heads == 1e-3


def contender(name: str, hits: int, flops: int, finished: bool = True, rows: int = 400) -> Contender:
    outcome = share_of_hits(numpy.random.default_rng(hits).permutation(rows) < hits)
    return Contender(name, {1: {"t": outcome}}, flops, 1.0, 1.0, 3, 0, 1, finished)


def test_the_cheapest_within_one_standard_error_is_chosen() -> None:
    many = [
        contender("all", 360, 100),
        contender("top", 358, 50),
        contender("heads", 320, 10),
        contender("stopped", 365, 1, finished=False),
    ]
    verdict = judged(many)
    assert (verdict.best, verdict.chosen, verdict.alike) == ("all", "top", ("top",))
    assert [row.candidate for row in verdict.rows] == ["all", "top", "heads", "stopped"]
    assert [row.front for row in verdict.rows] == [True, True, True, False]
    assert {item.name for item in close_to_best(many[:3])} == {"all", "top"}


def test_seeds_that_differ_widen_the_error_of_a_difference() -> None:
    right = numpy.arange(1000)
    one = Contender(
        "a", {s: {"t": share_of_hits(right < n)} for s, n in ((1, 700), (2, 800))}, 1, 1, 1, 1, 0, 1, True
    )
    other = Contender("b", {s: {"t": share_of_hits(right < 750)} for s in (1, 2)}, 1, 1, 1, 1, 0, 1, True)
    short, error = difference(one, other)
    assert short == pytest.approx(0.0)
    assert error > 0.05
    assert isinstance(one.outcomes[1]["t"], Outcome)


def test_rungs_end_with_all_epochs() -> None:
    assert all(rungs_of(epochs)[-1] == epochs for epochs in range(1, 20))
    assert all(rungs_of(epochs)[0] >= 1 for epochs in range(1, 20))
