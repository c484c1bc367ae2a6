"""One spec and many models: `show --model`, `check --model`, `params` and `init`."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from freezeplan.cli.program import run
from freezeplan.render.scenarios import SCENARIOS
from tests.cli.rooms import Outcome, Room, surroundings

Here = Callable[..., Outcome]
PORTABLE = 'extends = "preset:top_layers"\n\n[model]\nsource = "nowhere"\narchitecture = "bert"\n'
CLASS = 'class = "AutoModelForSequenceClassification"\n'


@pytest.fixture
def here(room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command in this process, in the room's folder: models are built once torch is there."""
    monkeypatch.chdir(room.path)

    def call(*arguments: str) -> Outcome:
        status = run(arguments)
        out, err = capsys.readouterr()
        return Outcome(status, out.encode(), err.encode())

    return call


def test_show_takes_another_model(room: Room, here: Here) -> None:
    room.write("portable.toml", PORTABLE + CLASS)
    done = here("show", "portable.toml", "--model", "distilbert")
    assert (done.status, done.err) == (0, "")
    assert re.search(r"^model +distilbert as AutoModelForSequenceClassification \(arch", done.out, re.M)


def test_another_model_s_files_start_at_the_current_folder(room: Room, here: Here) -> None:
    (room.path / "specs").mkdir()
    room.write("specs/good.toml", (room.path / "good.toml").read_text())
    done = here("show", "specs/good.toml", "--model", "model.safetensors")
    assert (done.status, done.err) == (0, "")
    assert here("show", "specs/good.toml").status == 1


def test_check_gives_one_line_for_each_spec_and_model(room: Room, here: Here) -> None:
    room.write("portable.toml", PORTABLE)
    room.write("headless.toml", PORTABLE.replace("top_layers", "linear_probe"))
    models = ["--model", "bert", "--model", "distilbart", "--model", "./none"]
    done = here("check", "portable.toml", "headless.toml", "missing.toml", *models)
    assert done.status == 2
    found = [(line.split()[0], line.split("  ")[-1].partition(":")[0]) for line in done.out.splitlines()]
    assert found == [
        ("ok", "portable.toml with bert"),
        ("failed", "portable.toml with distilbart"),
        ("failed", "portable.toml with ./none"),
        ("failed", "headless.toml with bert"),
        ("failed", "headless.toml with distilbart"),
        ("failed", "headless.toml with ./none"),
        ("unreadable", "missing.toml"),
    ]
    assert "--> --model ./none" in done.err and "did you mean the model type `distilbert`?" in done.err
    assert "--> preset:linear_probe:" in done.err and "= note: the model is `bert`, by --model" in done.err


def test_check_as_json_names_the_model(room: Room, here: Here) -> None:
    room.write("portable.toml", PORTABLE)
    done = here("check", "portable.toml", "--format", "json", "--model", "bert")
    (found,) = json.loads(done.out)["specs"]
    assert (found["spec"], found["model"], found["verdict"]) == ("portable.toml", "bert", "ok")


def test_params_lists_every_name_with_shape_layer_and_roles(room: Room, here: Here) -> None:
    done = here("params", "gpt2", "--class", "AutoModelForCausalLM")
    assert (done.status, done.err) == (0, "")
    lines = {line.split()[0]: line for line in done.out.splitlines() if line}
    assert lines["transformer.wte.weight"].split()[1:] == [
        *("50257", "x", "768", "float32", "-", "@backbone", "@embeddings"),
    ]
    assert lines["transformer.h.11.mlp.c_fc.bias"].split()[-3:] == ["transformer.h[11]", "@backbone", "@bias"]
    assert lines["lm_head.weight"].endswith("@heads = transformer.wte.weight")
    assert lines["size"] == "size    124,439,808 parameters in 148 tensors"


def test_params_as_a_tree_folds_what_is_alike(room: Room, here: Here) -> None:
    done = here("params", "distilbert", "--tree")
    assert "{0..5}  TransformerBlock  7,087,872 each  @layers" in done.out
    assert done.out.count("TransformerBlock  7") == 1 and "\x1b" not in done.out
    assert "embeddings  Embeddings  23,835,648  @embeddings" in done.out


def test_params_as_json_holds_every_parameter(room: Room, here: Here) -> None:
    record = json.loads(here("params", "model.safetensors", "--format", "json").out)
    assert record["totals"] == {"tensors": 12, "parameters": 658} and len(record["parameters"]) == 12
    assert record["parameters"][0]["name"] == "bert.embeddings.word_embeddings.weight"
    assert record["stacks"][0]["layers"][-1] == "bert.encoder.layer.2"


def test_params_of_no_model_says_so(room: Room, here: Here) -> None:
    done = here("params", "./none")
    assert (done.status, done.out) == (1, "") and "error[FP150]" in done.err


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize(
    "model", [("bart",), ("gpt2", "--class", "AutoModelForCausalLM")], ids=lambda m: m[0]
)
def test_init_writes_what_show_then_reads(
    room: Room, here: Here, scenario: str, model: tuple[str, ...]
) -> None:
    done = here("init", *model, "--scenario", scenario, "--out", "new.toml")
    if model[0] == "gpt2" and scenario == "backbone-frozen":
        assert done.status == 1 and "error[FP305]" in done.err and not (room.path / "new.toml").exists()
        return
    assert done.status == 0, done.err
    shown = here("show", "new.toml")
    trained = re.search(r"^trainable +(.*)$", shown.out, re.M)
    assert shown.status == 0 and trained and trained[1] in done.out


def test_init_names_each_stack_of_several(room: Room, here: Here) -> None:
    here("init", "bart", "--scenario", "top-layers")
    text = (room.path / "freezeplan.toml").read_text()
    assert 'match = ["backbone.encoder.layers.@layers[-2:]", "backbone.decoder.layers.@layers[-2:]"]' in text


def test_init_never_replaces_a_file(room: Room, here: Here) -> None:
    done = here("init", "bert", "--scenario", "llrd", "--out", "good.toml")
    assert done.status == 2 and "never replaced" in done.err
    assert (room.path / "good.toml").read_text().startswith("[model]")


def test_init_leaves_nothing_behind_where_it_cannot_write(
    room: Room, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(item.name for item in room.path.iterdir())

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        done = here("init", "bert", "--scenario", "llrd", "--out", "new.toml")
    assert done.status == 2 and "no space left on device" in done.err
    assert sorted(item.name for item in room.path.iterdir()) == before
    assert here("init", "bert", "--scenario", "llrd", "--out", "new.toml").status == 0


def test_init_replaces_no_file_that_came_in_between(
    room: Room, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(handle: int) -> None:
        (room.path / "new.toml").write_text("somebody's\n", "utf-8")

    monkeypatch.setattr(os, "fsync", meanwhile)
    for links in (True, False):
        if not links:
            monkeypatch.delattr(os, "link")
        (room.path / "new.toml").unlink(missing_ok=True)
        assert here("init", "bert", "--scenario", "llrd", "--out", "new.toml").status == 2
        assert (room.path / "new.toml").read_text("utf-8") == "somebody's\n"


def test_init_in_another_folder_keeps_the_way_to_a_local_model(room: Room, here: Here) -> None:
    (room.path / "model").mkdir()
    config = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    room.write("model/config.json", json.dumps(config | {"intermediate_size": 8, "vocab_size": 9}))
    (room.path / "specs").mkdir()
    done = here("init", "./model", "--scenario", "top-layers", "--out", "specs/new.toml")
    assert done.status == 0, done.err
    assert 'source = "../model"' in (room.path / "specs" / "new.toml").read_text()
    assert here("show", "specs/new.toml").status == 0


LOADED = """
import atexit, runpy, sys
heavy = {"torch", "transformers", "datasets", "accelerate", "sklearn", "huggingface_hub", "numpy"}
atexit.register(lambda: print("heavy:", *sorted(heavy & sys.modules.keys()), file=sys.stderr))
sys.argv = ["freezeplan", *sys.argv[1:]]
runpy.run_module("freezeplan", run_name="__main__")
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "spec.toml"),
        ("show", "spec.toml", "--model", "bert"),
        ("diff", "spec.toml", "spec.toml"),
        ("params", "distilbert", "--tree"),
    ],
    ids=" ".join,
)
def test_the_second_time_prints_the_same_without_torch(room: Room, arguments: tuple[str, ...]) -> None:
    task = '[[task]]\nname = "topic"\nlabels = ["a", "b"]\n'
    model = '[model]\nsource = "distilbert-base-uncased"\narchitecture = "distilbert"\n'
    room.write("spec.toml", f'extends = "preset:top_layers"\n{model}{task}')
    environment = surroundings({"FREEZEPLAN_CACHE": "on", "FREEZEPLAN_CACHE_DIR": str(room.path / "cache")})
    environment["HF_HOME"] = str(room.path / "hub")
    cold, warm = (
        subprocess.run(
            [sys.executable, "-c", LOADED, *arguments],
            cwd=room.path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        for _ in range(2)
    )
    assert cold.stdout == warm.stdout and cold.stdout
    assert "torch" in cold.stderr.splitlines()[-1]
    assert warm.stderr.splitlines()[-1].rstrip() == "heavy:"


def test_why_takes_another_model(room: Room, here: Here) -> None:
    room.write("portable.toml", PORTABLE + CLASS)
    done = here(
        "why", "portable.toml", "distilbert.transformer.layer.5.ffn.lin1.weight", "--model", "distilbert"
    )
    assert (done.status, done.err) == (0, "")
    assert re.search(r'^ +wins +state = "trainable"', done.out, re.M)
    wrong = here("why", "portable.toml", "nowhere.weight", "--model", "distilbert")
    assert wrong.status == 2 and "= note: the model is `distilbert`, by --model" in wrong.err


def test_a_config_alone_is_not_taken_for_random_weights(room: Room, here: Here) -> None:
    config = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2}
    room.write("bert.json", json.dumps(config | {"intermediate_size": 8, "vocab_size": 9}))
    room.write("portable.toml", PORTABLE + CLASS)
    done = here("show", "portable.toml", "--model", "bert.json")
    assert (done.status, done.err) == (0, "")
    room.write("own.toml", f'extends = "preset:top_layers"\n\n[model]\narchitecture = "bert.json"\n{CLASS}')
    assert "warning[FP406]" in here("show", "own.toml").err
