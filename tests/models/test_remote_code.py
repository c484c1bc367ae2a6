"""Code that a model ships: it runs where the spec trusts it, of the revision it pins, and nowhere else."""

from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import save_file

from freezeplan.api import compile_plan
from freezeplan.cli.program import run
from freezeplan.diagnostics import DiagnosticError
from freezeplan.models import classes, configs
from freezeplan.models.loading import load_model, load_tokenizer
from freezeplan.models.resolve import Source
from freezeplan.models.sources import inventory_for
from freezeplan.spec.foreign_code import no_remote_code
from tests.models.sources import TASKS, spec_of

CONFIG = """
from transformers import PreTrainedConfig

class OwnConfig(PreTrainedConfig):
    model_type = "own"
    def __init__(self, hidden_size=4, **rest):
        self.hidden_size = hidden_size
        super().__init__(**rest)
"""
MODEL = """
from pathlib import Path
from torch import nn
from transformers import PreTrainedModel
from .configuration_own import OwnConfig

Path({ran!r}).touch()

class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    base_model_prefix = "own"
    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(5, config.hidden_size)
        self.post_init()
    def forward(self, input_ids, attention_mask=None):
        return (self.embed(input_ids),)

class OwnTagger(PreTrainedModel):
    config_class = OwnConfig
    base_model_prefix = "own"
    def __init__(self, config):
        super().__init__(config)
        self.own = OwnModel(config)
        self.tags = nn.Linear(config.hidden_size, 3)
        self.post_init()
"""
NUMBERS = count()
AUTO = {"AutoConfig": "configuration_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}
AUTO |= {"AutoModelForTokenClassification": "modeling_own.OwnTagger"}


@pytest.fixture(scope="module", autouse=True)
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A place for the code that transformers copies: one for all tests, since Python keeps what it imported."""
    place = str(tmp_path_factory.mktemp("modules"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", place)
        patch.syspath_prepend(place)
        yield
    for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
        del sys.modules[name]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A model with code of its own, in a folder that no other test has."""
    folder = tmp_path / f"own_{next(NUMBERS)}"
    folder.mkdir()
    (folder / "configuration_own.py").write_text(CONFIG)
    (folder / "modeling_own.py").write_text(MODEL.format(ran=str(tmp_path / "ran")))
    write_config(folder, AUTO)
    tensors = {
        "own.embed.weight": torch.ones(5, 4),
        "tags.weight": torch.ones(3, 4),
        "tags.bias": torch.ones(3),
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_config(folder: Path, auto_map: dict[str, str]) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": auto_map}))


@pytest.mark.parametrize("name", ["OwnTagger", "AutoModelForTokenClassification"])
def test_a_class_that_the_model_ships_is_found_by_either_name(name: str, own: Path) -> None:
    spec = spec_of({"source": str(own), "class": name, "trust_remote_code": True})
    shown = inventory_for(spec)
    assert shown.role_nodes["heads"] == ("tags",) and {info.loaded for info in shown.params} == {True}
    model, record = load_model(spec)
    assert type(model).__name__ == "OwnTagger" and record.fresh == ()
    assert torch.equal(model.tags.weight, torch.ones(3, 4))


def test_its_base_model_takes_the_heads_of_tasks(own: Path) -> None:
    spec = spec_of({"source": str(own), "trust_remote_code": True}, TASKS)
    model, record = load_model(spec)
    assert "backbone.embed.weight" in record.loaded
    assert [info.name for info in inventory_for(spec).params] == [
        name for name, _ in model.named_parameters()
    ]


def test_a_class_that_it_does_not_ship_is_listed_against(own: Path) -> None:
    for name in ("AutoModelForCausalLM", "OwnTager"):
        with pytest.raises(DiagnosticError) as caught:
            inventory_for(spec_of({"source": str(own), "class": name, "trust_remote_code": True}))
        (problem,) = caught.value.diagnostics
        assert problem.code == "FP155" and "AutoModelForTokenClassification" in (problem.help or "")


def test_without_a_base_model_of_its_own_it_says_so(own: Path) -> None:
    write_config(own, {name: place for name, place in AUTO.items() if name != "AutoModel"})
    with pytest.raises(DiagnosticError, match="FP155.*ships has no base model"):
        inventory_for(spec_of({"source": str(own), "trust_remote_code": True}, TASKS))


def test_code_that_does_not_run_is_no_fault_of_ours(own: Path) -> None:
    (own / "modeling_own.py").write_text("raise RuntimeError('not today')")
    with pytest.raises(DiagnosticError, match="FP154.*not today"):
        inventory_for(spec_of({"source": str(own), "trust_remote_code": True}))


def test_switched_off_nothing_runs(own: Path, tmp_path: Path) -> None:
    spec = spec_of({"source": str(own), "trust_remote_code": True})
    with no_remote_code():
        for call in (inventory_for, load_model):
            with pytest.raises(DiagnosticError, match="FP177"):
                call(spec)
        with pytest.raises(DiagnosticError, match="FP171"):
            load_tokenizer(spec)
    assert not (tmp_path / "ran").exists()
    inventory_for(spec)
    assert (tmp_path / "ran").exists()


def test_a_model_without_code_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEZEPLAN_REMOTE_CODE", "off")
    assert inventory_for(spec_of({"architecture": "bert", "trust_remote_code": True})).params


@pytest.mark.parametrize("command", ["check", "show", "train", "why"])
def test_every_command_has_the_switch(
    command: str, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        f'[model]\nsource = "{own}"\ntrust_remote_code = true\n[[rule]]\nmatch = "**"\nstate = "trainable"\n'
    )
    (tmp_path / "spec.toml").write_text(text)
    more = ["embed.weight"] if command == "why" else []
    assert run([command, str(tmp_path / "spec.toml"), *more, "--no-remote-code"]) == 1
    assert "error[FP177]" in capsys.readouterr().err and not (tmp_path / "ran").exists()
    if command == "check":
        assert run(["check", str(tmp_path / "spec.toml")]) == 0


def test_the_revision_that_is_pinned_is_that_of_the_code_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def config(place: str, **options: object) -> object:
        seen.append(("config", place, options["revision"]))
        return transformers.BertConfig()

    def imported(reference: str, place: str, **options: object) -> type:
        seen.append((reference, place, options["revision"]))
        return transformers.BertModel

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", config)
    monkeypatch.setattr("transformers.dynamic_module_utils.get_class_from_dynamic_module", imported)
    source = Source("hub", "o/n", repo="o/n", config={"auto_map": AUTO})
    spec = spec_of({"source": "o/n", "revision": "v1", "trust_remote_code": True})
    classes.model_class(None, configs.config_object(source, spec), source, spec)
    assert seen == [("config", "o/n", "v1"), ("modeling_own.OwnModel", "o/n", "v1")]


def test_a_live_model_never_asks_on_standard_input(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = load_model(spec_of({"source": str(own), "class": "OwnTagger", "trust_remote_code": True}))

    asked: list[object] = []
    monkeypatch.setattr(builtins, "input", lambda *question: asked.append(question) or "n")
    model.base_model_prefix = ""
    assert compile_plan(model, {"rule": [{"match": "**", "state": "frozen"}]}).names(trainable=False)
    assert asked == []
