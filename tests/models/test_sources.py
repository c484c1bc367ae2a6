"""Where models come from: folders, packages, the cache, architectures, runs; never the network."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.sources import inventory_for, resolve_source
from freezeplan.outside import hub
from freezeplan.spec.reading import load_spec
from tests.models.sources import TASKS, meta, saved, spec_of, tiny


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where anything asks the hub."""

    def refuse(*args: object) -> Path:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(hub, "fetched_config", refuse)


def test_an_architecture_gives_its_defaults(no_network: None) -> None:
    spec = spec_of({"source": "distilbert-base-uncased", "architecture": "distilbert"}, TASKS)
    inventory = inventory_for(spec)
    trunk = [info for info in inventory.tensors if "backbone" in info.roles]
    assert (len(trunk), sum(info.numel for info in trunk)) == (100, 66_362_880)
    assert inventory.origin == "architecture defaults"
    assert inventory.label == "distilbert-base-uncased + 2 heads"
    assert [info.shape for info in inventory.tensors if "heads" in info.roles] == [
        (2, 768),
        (2,),
        (3, 768),
        (3,),
    ]


def test_what_a_checkpoint_will_provide(no_network: None) -> None:
    spec = spec_of({"source": "distilbert-base-uncased", "architecture": "distilbert"}, TASKS)
    assert {info.loaded for info in inventory_for(spec).params if "backbone" in info.roles} == {True}
    assert {info.loaded for info in inventory_for(spec).params if "heads" in info.roles} == {False}
    alone = spec_of({"architecture": "distilbert"}, TASKS)
    assert {info.loaded for info in inventory_for(alone).params} == {False}


def test_a_folder_with_its_config_wins_over_the_architecture(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    inventory = inventory_for(spec_of({"source": str(folder), "architecture": "gpt2"}, TASKS))
    assert inventory.origin == "config of the source"
    assert [stack.path for stack in inventory.stacks] == ["backbone.encoder.layer"]
    assert any("`architecture` is not used" in note for note in inventory.notes)


def test_a_pooler_that_the_checkpoint_lacks_is_not_loaded(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny("bert", "AutoModelForMaskedLM"))
    infos = {info.name: info.loaded for info in inventory_for(spec_of({"source": str(folder)})).params}
    assert infos["pooler.dense.weight"] is False
    assert infos["encoder.layer.0.output.dense.weight"] is True


def test_a_class_says_which_heads_are_new(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    spec = spec_of({"source": str(folder), "class": "BertForMaskedLM"})
    inventory = inventory_for(spec)
    infos = {info.name: info.loaded for info in inventory.params}
    assert infos["bert.encoder.layer.0.output.dense.weight"] is True
    assert infos["cls.predictions.transform.dense.weight"] is False
    assert infos["cls.predictions.decoder.weight"] is True  # tied to the embeddings
    assert inventory.label.endswith(" as BertForMaskedLM")


def test_relative_paths_start_at_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "models" / "mine")
    (tmp_path / "specs").mkdir()
    path = tmp_path / "specs" / "spec.toml"
    text = '[model]\n{}\n[[rule]]\nmatch = "**"\nstate = "frozen"\n'
    monkeypatch.chdir(Path(sys.prefix))
    path.write_text(text.format('source = "../models/mine"'), "utf-8")
    assert len(inventory_for(load_spec(path)).stacks[0].layers) == 3
    path.write_text(text.format('architecture = "../models/mine/config.json"'), "utf-8")
    assert inventory_for(load_spec(path)).origin == "config `../models/mine/config.json`"


def test_a_package_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "packed_model" / "files")
    (tmp_path / "packed_model" / "__init__.py").write_text("raise RuntimeError('imported')", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    inventory = inventory_for(spec_of({"source": "package:packed_model/files"}))
    assert inventory.origin == "config of the source"
    assert "packed_model" not in sys.modules


def test_a_link_out_of_a_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "outside")
    (tmp_path / "linked_model").mkdir()
    (tmp_path / "linked_model" / "__init__.py").write_text("", "utf-8")
    (tmp_path / "linked_model" / "files").symlink_to(tmp_path / "outside")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DiagnosticError, match="FP157.*leaves the package"):
        inventory_for(spec_of({"source": "package:linked_model/files"}))


def test_an_inline_config_is_used() -> None:
    config = {"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 24}
    inventory = inventory_for(spec_of({"config": config}))
    assert (inventory.origin, inventory.stacks[0].length) == ("[model.config]", 2)


def test_a_hub_model_in_the_cache_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    config = saved(tmp_path / "cached") / "config.json"
    monkeypatch.setattr(hub, "cached_config", lambda repo, revision: config)
    inventory = inventory_for(spec_of({"source": "owner/name"}, TASKS))
    assert inventory.origin == "config in the local cache"
    assert inventory.stacks[0].length == 3


def test_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(spec_of({"source": "nobody/nothing"}))
    (problem,) = caught.value.diagnostics
    assert problem.message == "`nobody/nothing` is not on this machine, and the hub cannot be reached"
    assert "local folder" in problem.help
    assert "`architecture`" in problem.help


def test_an_unreachable_hub_is_noticed_at_the_first_try(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(address: tuple[str, int], timeout: float) -> None:
        tried.append(address)
        raise OSError("no route")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(hub.socket, "create_connection", refuse)
    with pytest.raises(DiagnosticError, match="FP156"):
        inventory_for(spec_of({"source": "nobody/nothing"}))
    assert len(tried) == 1


def test_a_run_that_is_not_there_yet_is_stood_in_for(no_network: None) -> None:
    spec = spec_of({"source": "./runs/later", "architecture": "distilbert"}, TASKS)
    inventory = inventory_for(spec)
    assert {info.loaded for info in inventory.params if "heads" in info.roles} == {None}
    assert {info.loaded for info in inventory.params if "backbone" in info.roles} == {True}
    assert any("`./runs/later` is not on this machine" in note for note in inventory.notes)


@pytest.mark.parametrize(
    "text", ["a\0b", "./" + "x" * 5000, "~nobody-here/model", "", " ", "../" * 40, "C:\\model"]
)
def test_strange_sources_are_diagnostics(text: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        resolve_source(load_spec({"model": {"source": text}}))
    assert caught.value.diagnostics[0].code in ("FP150", "FP151")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe{}", b"[" * 100_000, b"{}", b'{"model_type": 5}']
)
def test_broken_configs_are_diagnostics(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(spec_of({"source": str(tmp_path)}))
    assert [item.code for item in caught.value.diagnostics] == ["FP152"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_size": "large"},
        {"hidden_size": -8},
        {"num_attention_heads": 0},
        {"num_hidden_layers": None},
        {"hidden_act": "no-such-activation"},
        {"vocab_size": 2**62},
        {"layer_norm_eps": [1]},
    ],
    ids=str,
)
def test_wrong_values_in_a_config_are_diagnostics(wrong: dict, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(spec_of({"config": {"model_type": "bert"} | wrong}))
    (problem,) = caught.value.diagnostics
    assert problem.code == "FP154"
    assert "\n" not in problem.message
    assert capfd.readouterr() == ("", "")


def test_an_inventory_does_not_depend_on_where_the_model_is_built() -> None:
    in_memory = meta("bert", "BertModel", num_hidden_layers=2, hidden_size=24)
    from freezeplan.inventory.from_module import inventory_of

    config = {"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 24}
    shown = inventory_for(spec_of({"config": config}))
    real = inventory_of(in_memory, loaded=lambda name: False)
    assert (shown.params, shown.modules, shown.stacks) == (real.params, real.modules, real.stacks)


def test_finding_a_source_loads_neither_torch_nor_transformers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}), "utf-8")
    code = (
        "import sys; from freezeplan.models.resolve import resolve_source;"
        "import freezeplan.models.sources, freezeplan.inventory.from_module;"
        "from freezeplan.spec.reading import load_spec;"
        f"assert resolve_source(load_spec({{'model': {{'source': {str(tmp_path)!r}}}}})).config;"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "advice"), [("models/berrt", "did you mean `bert`?"), ("modles", "did you mean `models`?")]
)
def test_a_mistyped_folder_is_not_blamed_on_the_hub(
    name: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "models" / "bert").mkdir(parents=True)
    (tmp_path / "modles.txt").touch()
    path = tmp_path / "spec.toml"
    path.write_text(f'[model]\nsource = "{name}"\n[[rule]]\nmatch = "**"\nstate = "frozen"\n', "utf-8")
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(load_spec(path))
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.help) == ("FP150", advice)
    assert problem.message.startswith(f"there is no folder `{name}`")


def test_what_is_like_no_folder_is_said_to_be_no_folder_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(spec_of({"source": "nobody/nothing"}))
    (problem,) = caught.value.diagnostics
    assert problem.code == "FP156" and "there is no folder of that name either" in problem.notes[0]


def raising(*chain: Exception) -> Callable[..., None]:
    """Return a function that raises the last of some exceptions, each from the one before it."""

    def fail(*args: object, **options: object) -> None:
        for before, after in itertools.pairwise(chain):
            after.__cause__ = before
        raise chain[-1]

    return fail


LAZY = ModuleNotFoundError(
    "Could not import module 'BertModel'. Are this object's requirements defined correctly?"
)
CAUSES = {
    "torchvision": (RuntimeError("operator torchvision::nms does not exist"), "release of torchvision"),
    "a missing library": (
        ModuleNotFoundError("No module named 'numba'", name="numba"),
        "install what is missing: `numba`",
    ),
    "libraries that do not fit": (ImportError("cannot import name 'x' from 'y'"), "do not fit each other"),
}


@pytest.mark.parametrize("kind", CAUSES)
def test_a_library_that_does_not_fit_is_named_and_the_config_is_not_blamed(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cause, advice = CAUSES[kind]
    monkeypatch.setattr("transformers.AutoModel.from_config", raising(cause, LAZY))
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(spec_of({"architecture": "bert"}))
    (problem,) = caught.value.diagnostics
    assert problem.code == "FP154" and advice in (problem.help or "")
    assert str(cause) in problem.notes[0]


def test_a_backbone_that_transformers_asks_the_hub_about_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"model_type": "detr", "backbone": "resnet50", "use_timm_backbone": True, "backbone_kwargs": {}}
    monkeypatch.setattr(
        "transformers.DetrConfig.from_dict", raising(OSError("x"), ConnectionError("no route"))
    )
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(spec_of({"config": config}))
    (problem,) = caught.value.diagnostics
    assert problem.code == "FP156" and "asks the hub about the backbone `resnet50`" in problem.message
    assert "`backbone_config`" in (problem.help or "")


@pytest.mark.parametrize(("source", "told"), [("rows.csv", "is a file, neither"), (" ", "`source` is blank")])
def test_a_file_and_a_blank_are_named_as_what_they_are(source: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n", "utf-8")
    (tmp_path / "spec.toml").write_text(f'[model]\nsource = "{source}"\n', "utf-8")
    with pytest.raises(DiagnosticError, match=told) as caught:
        inventory_for(load_spec(tmp_path / "spec.toml"))
    assert "did you mean" not in (caught.value.diagnostics[0].help or "")
