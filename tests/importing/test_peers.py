"""What is special to one tool: its accidents, its errors, and what cannot be said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from freezeplan.diagnostics import DiagnosticError
from freezeplan.importing.config_file import read_config
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers import PEERS
from freezeplan.importing.reading import Reading
from freezeplan.importing.translating import peer_of
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.records import Inventory, ModuleInfo, ParamInfo

CASES = Path(__file__).parents[3] / "shared" / "conformance" / "peer_cases.json"


class Block(nn.Module):
    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(experts))
        self.norm = nn.LayerNorm(2)


class Mixture(nn.Module):
    """Four layers of four experts, a projection whose name holds `text`, and a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(4, 2)
        self.layers = nn.ModuleList(Block(4) for _ in range(4))
        self.context_proj = nn.Linear(2, 2)
        self.text_model = nn.Linear(2, 2)
        self.lm_head = nn.Linear(2, 4, bias=False)
        self.lm_head.weight = self.embed_tokens.weight


@pytest.fixture(scope="module")
def mixture() -> ModelNames:
    with torch.device("meta"):
        model = Mixture()
    return ModelNames(inventory_of(model, "mixture"), config={"num_hidden_layers": 4})


def read(
    tmp_path: Path, peer: str, text: str, model: ModelNames, meant: bool = False, name: str = "c.yaml"
) -> Reading:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    config = read_config(path)
    assert peer == peer_of(config).NAME
    return PEERS[peer].read(config, model, meant)


def trained(reading: Reading, phase: int = 0) -> set[str]:
    return {name for name, (what, _) in reading.phases[phase].outcome.items() if what.trained}


def refused(tmp_path: Path, peer: str, text: str, model: ModelNames, name: str = "c.yaml") -> str:
    with pytest.raises(DiagnosticError) as error:
        read(tmp_path, peer, text, model, name=name)
    return f"{error.value.diagnostics[0].code} {error.value.diagnostics[0].message}"


def test_the_last_layer_also_thaws_an_expert_of_every_layer(tmp_path: Path, mixture: ModelNames) -> None:
    text = "finetuning_type: freeze\nfreeze_trainable_layers: 1\n"
    literal, meant = (trained(read(tmp_path, "llamafactory", text, mixture, way)) for way in (False, True))
    assert meant == {name for name in mixture.tensors if name.startswith("layers.3.")}
    assert literal - meant == {
        f"layers.{n}.experts.3.{leaf}" for n in range(3) for leaf in ("weight", "bias")
    }


def test_language_is_part_of_no_context(tmp_path: Path, mixture: ModelNames) -> None:
    text = "freeze_config:\n  freeze_language_model: true\noptimizer:\n  lr: 1.0e-4\n"
    literal, meant = (trained(read(tmp_path, "automodel", text, mixture, way)) for way in (False, True))
    assert meant - literal == {"context_proj.weight", "context_proj.bias"}
    assert not {"text_model.weight", "text_model.bias"} & meant


def test_freezing_a_tied_head_freezes_the_embedding(tmp_path: Path, mixture: ModelNames) -> None:
    text = "freeze_config:\n  freeze_modules:\n    - path: lm_head\noptimizer:\n  lr: 1.0e-4\n"
    assert "embed_tokens.weight" not in trained(read(tmp_path, "automodel", text, mixture))


def test_a_misspelt_key_of_a_schedule(tmp_path: Path, mixture: ModelNames) -> None:
    text = "0:\n  params: [text_model.weight]\n1:\n  parms: ['layers.3.*']\n  learning_rate: 1e-3\n"
    literal, meant = (read(tmp_path, "finetuning-scheduler", text, mixture, way) for way in (False, True))
    assert trained(literal, 1) == {"text_model.weight"} and len(trained(meant, 1)) > 1
    said = [item.message for item in literal.findings if item.code == "FP195"]
    assert said[0] == "`parms` is not read there: did you mean `params`?"
    assert said[1] == "`learning_rate` is not read there"


REFUSED = {
    "a dead entry": ("finetuning-scheduler", "0:\n  params: [nothing]\n", "FP194", "matches no parameter"),
    "one tensor in two phases": (
        "finetuning-scheduler",
        "0:\n  params: [text]\n1:\n  params: [text_m]\n",
        "FP194",
        "both list",
    ),
    "phases that do not begin at 0": (
        "finetuning-scheduler",
        "1:\n  params: [text]\n",
        "FP194",
        "not numbered",
    ),
    "one that never ends": (
        "finetuning-scheduler",
        "0:\n  params: ['(([a-z_.0-9])*)*#']\n",
        "FP19",
        "",
    ),
    "no regular expression": (
        "finetuning-scheduler",
        "0:\n  params: ['a(']\n",
        "FP194",
        "no regular expression",
    ),
    "adapters": ("llamafactory", "finetuning_type: lora\n", "FP193", "@adapters"),
    "no such module": (
        "llamafactory",
        "finetuning_type: freeze\nfreeze_trainable_modules: mlp\n",
        "FP194",
        "`mlp`",
    ),
    "rows of a tensor": (
        "axolotl",
        "unfrozen_parameters: ['embed_tokens.weight[:2]']\n",
        "FP193",
        "as a whole",
    ),
    "no such option": ("automodel", "freeze_config:\n  freeze_all: true\n", "FP194", "`freeze_all`"),
    "nothing left": (
        "automodel",
        "freeze_config:\n  freeze_modules: [{glob: '*'}]\n",
        "FP194",
        "nothing is left",
    ),
    "two groups": (
        "allennlp",
        "trainer:\n  optimizer:\n    parameter_groups: [[[text], {lr: 1e-3}], [[model], {lr: 1e-4}]]\n",
        "FP194",
        "in two groups",
    ),
    "a schedule of code": (
        "allennlp",
        "trainer:\n  optimizer: {lr: 1e-3}\n  learning_rate_scheduler: {gradual_unfreezing: true}\n",
        "FP193",
        "[gradual]",
    ),
    "a tied tensor in two groups": (
        "mmengine",
        "optim_wrapper: {paramwise_cfg: {bias_lr_mult: 2}}\n",
        "FP194",
        "tied",
    ),
    "layer decay of other models": (
        "mmengine",
        "optim_wrapper: {paramwise_cfg: {layer_decay_rate: 0.8}}\n",
        "FP193",
        "beit",
    ),
    "what a base adds": (
        "mmengine",
        "_base_: a.py\noptim_wrapper: {optimizer: {lr: 0.1}}\n",
        "FP193",
        "_base_",
    ),
    "layers left out": (
        "timm",
        "opt: adamw\nlr: 0.1\nlayer_decay_no_opt_scale: 0.1\nsched: step\n",
        "FP193",
        "leaves",
    ),
    "groups by an option": (
        "timm",
        "opt: adamw\nlr: 0.1\nsched: step\nopt_kwargs: [layer_decay=0.7]\n",
        "FP193",
        "opt_kwargs",
    ),
    "an optimizer that divides for itself": (
        "axolotl",
        "base_model: m\ndatasets: []\noptimizer: muon\n",
        "FP193",
        "`muon`",
    ),
    "a plugin that measures": (
        "axolotl",
        "base_model: m\ndatasets: []\nplugins: [axolotl.integrations.spectrum.SpectrumPlugin]\n",
        "FP193",
        "measures",
    ),
    "quantised weights": (
        "axolotl",
        "base_model: m\ndatasets: []\nload_in_4bit: true\n",
        "FP193",
        "quantised",
    ),
    "a draft model": (
        "automodel",
        "freeze_config: {}\nrecipe: TrainEagle3Recipe\n",
        "FP193",
        "another model",
    ),
    "a decay that changes": (
        "automodel",
        "freeze_config: {}\noptimizer: {lr: 1e-3, weight_decay: 0.1}\nlr_scheduler: {end_wd: 0.2}\n",
        "FP193",
        "changes as it goes",
    ),
    "several optimizers": (
        "allennlp",
        "trainer: {optimizer: {type: multi}}\n",
        "FP193",
        "several optimizers",
    ),
    "no type, so adapters": ("ms-swift", "freeze_parameters_ratio: 0.5\n", "FP193", "by LoRA"),
    "groups of a plugin": ("ms-swift", "tuner_type: full\noptimizer: multimodal\n", "FP193", "`multimodal`"),
    "Muon": ("llamafactory", "finetuning_type: full\nuse_muon: true\n", "FP193", "`use_muon`"),
    "a constructor of its own": (
        "mmengine",
        "optim_wrapper: {constructor: LearningRateDecayOptimWrapperConstructor, optimizer: {lr: 0.1}}\n",
        "FP193",
        "code of its own",
    ),
    "a scaled rate": (
        "mmengine",
        "optim_wrapper: {optimizer: {lr: 0.1}}\nauto_scale_lr: {enable: true}\n",
        "FP193",
        "number of devices",
    ),
    "no optimizer": ("mmengine", "optim_wrapper: {type: OptimWrapper}\n", "FP194", "no `optimizer`"),
    "no decay to multiply": (
        "mmengine",
        "optim_wrapper: {optimizer: {lr: 1}, paramwise_cfg: {norm_decay_mult: 0, bypass_duplicate: true}}\n",
        "FP194",
        "no `weight_decay`",
    ),
    "a rate for no tensor": (
        "transformers",
        "learning_rate: 1e-3\nmax_steps: 1\nlearning_rate_mapping: {nothing: 1e-4}\n",
        "FP194",
        "matches no parameter",
    ),
    "no groups": ("timm", "opt: adamw\nlr: 0.1\nlayer_decay: 0.7\n", "FP193", "group_matcher"),
    "layers at random": ("ms-swift", "tuner_type: full\nlisa_activated_layers: 2\n", "FP193", "LISA"),
    "other layers": (
        "llamafactory",
        "finetuning_type: full\nmixture_of_depths: convert\n",
        "FP193",
        "layers",
    ),
    "projected gradients": (
        "transformers",
        "learning_rate: 1e-3\nmax_steps: 1\noptim_target_modules: all\n",
        "FP193",
        "GaLore",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_with_a_reason(tmp_path: Path, mixture: ModelNames, what: str) -> None:
    peer, text, code, reason = REFUSED[what]
    with pytest.raises(DiagnosticError) as error:
        read(tmp_path, peer, text, mixture)
    first = error.value.diagnostics[0]
    assert (
        first.code.startswith(code) and reason in f"{first.message} {first.help}" and first.span is not None
    )


def test_a_rate_of_zero_is_not_frozen_but_meant_to_be(tmp_path: Path, mixture: ModelNames) -> None:
    keys = "custom_keys={'text_model': dict(lr_mult=0., lr_mul=2)}, bypass_duplicate=True"
    text = f"optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=0.1), paramwise_cfg=dict({keys}))\n"
    assert "it is not frozen" in refused(tmp_path, "mmengine", text, mixture, name="c.py")
    meant = read(tmp_path, "mmengine", text, mixture, True, "c.py")
    assert "text_model.weight" not in trained(meant)
    assert "did you mean `lr_mult`?" in meant.findings[0].message


def test_a_rate_of_a_key_replaces_what_its_factor_gives(tmp_path: Path, mixture: ModelNames) -> None:
    keys = "custom_keys={'text_model': dict(lr=0.5, lr_mult=2., weight_decay=0.3)}, bypass_duplicate=True"
    text = f"optim_wrapper = dict(optimizer=dict(lr=0.1, weight_decay=0.1), paramwise_cfg=dict({keys}))\n"
    what, _ = read(tmp_path, "mmengine", text, mixture, name="c.py").phases[0].outcome["text_model.weight"]
    assert (what.lr, what.lr_mult, what.weight_decay, what.weight_decay_mult) == (0.5, None, 0.3, None)


def test_overrides_do_nothing_without_a_schedule(tmp_path: Path, mixture: ModelNames) -> None:
    text = "optimizer:\n  lr: 1e-3\n  param_group_overrides: [{pattern: text_model, lr_mult: 0.1}]\n"
    literal, meant = (read(tmp_path, "automodel", text, mixture, way) for way in (False, True))
    rates = [reading.phases[0].outcome["text_model.weight"][0].lr_mult for reading in (literal, meant)]
    assert rates == [None, 0.1] and "does nothing there" in literal.findings[0].message
    scheduled = read(tmp_path, "automodel", f"{text}lr_scheduler: {{max_lr: 2e-3}}\n", mixture)
    assert (scheduled.phases, scheduled.lr) == (meant.phases, 2e-3)


def test_a_group_of_axolotl_leaves_biases_at_the_base_rate(tmp_path: Path, mixture: ModelNames) -> None:
    text = "base_model: m\ndatasets: []\nlearning_rate: 1e-3\nweight_decay: 0.1\nembedding_lr_scale: 0.5\n"
    text += "lr_groups: [{name: text, modules: [layers.1, text_model], lr: 1e-4}]\n"
    literal, meant = (
        read(tmp_path, "axolotl", text, mixture, way).phases[0].outcome for way in (False, True)
    )
    numbers = {name: (what.lr, what.lr_mult, what.weight_decay) for name, (what, _) in literal.items()}
    assert numbers["text_model.weight"] == numbers["layers.1.experts.0.weight"] == (1e-4, None, None)
    assert numbers["text_model.bias"] == numbers["layers.0.norm.weight"] == (None, None, None)
    assert numbers["embed_tokens.weight"] == (None, 0.5, 0.0) and meant["text_model.bias"][0].lr == 1e-4


def test_what_the_optimizer_gets_is_no_accident(tmp_path: Path, mixture: ModelNames) -> None:
    keys = "custom_keys={'text_model': dict(lr_mult=0.5, lars_exclude=True)}, bypass_duplicate=True"
    text = f"optim_wrapper = dict(optimizer=dict(lr=0.1), paramwise_cfg=dict({keys}))\n"
    (found,) = read(tmp_path, "mmengine", text, mixture, name="c.py").findings
    assert found.code == "FP196" and "`lars_exclude` goes to the optimizer" in found.message


@pytest.mark.parametrize("kind", ["full", "freeze"])
def test_llamafactory_freezes_towers_whatever_the_type(tmp_path: Path, kind: str) -> None:
    towers = made([("visual.proj.weight", (2, 2), "Linear"), ("layers.0.up.weight", (2, 2), "Linear")])
    said = refused(tmp_path, "llamafactory", f"finetuning_type: {kind}\n", towers)
    assert "`visual` cannot be imported" in said


def test_a_config_of_no_known_tool(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: 1\n")
    with pytest.raises(DiagnosticError, match="FP191"):
        peer_of(read_config(path))


def made(rows: list) -> ModelNames:
    """Return the names of a model that is given as rows of name, shape and class."""
    bases = {"BatchNorm2d": ("_BatchNorm",), "GroupNorm": ()}
    owners = {name.rpartition(".")[0]: kind for name, _, kind in rows}
    modules = tuple(ModuleInfo(path, (kind, *bases.get(kind, ()))) for path, kind in owners.items())
    params = tuple(
        ParamInfo(name, tuple(shape), "float32", name.rpartition(".")[0]) for name, shape, _ in rows
    )
    return ModelNames(Inventory("made", params, modules))


@pytest.mark.parametrize("name", ["mmengine-paramwise", "mmengine-custom-keys-longest-wins"])
def test_the_cases_of_mmengine_itself(tmp_path: Path, name: str) -> None:
    if not CASES.is_file():
        pytest.skip("../shared is not here")
    case = next(case for case in json.loads(CASES.read_text()) if case["id"] == name)
    config = {"optim_wrapper": {"optimizer": case["base"], "paramwise_cfg": case["peer_config"]}}
    reading = read(tmp_path, "mmengine", json.dumps(config), made(case["params"]))
    for param, (what, _) in reading.phases[0].outcome.items():
        rate = case["base"]["lr"] * (1.0 if what.lr_mult is None else what.lr_mult)
        decay = case["base"]["weight_decay"] * (
            1.0 if what.weight_decay_mult is None else what.weight_decay_mult
        )
        assert {"lr": pytest.approx(rate), "weight_decay": pytest.approx(decay)} == case["expected"][param], (
            param
        )
