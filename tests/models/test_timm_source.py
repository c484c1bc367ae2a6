"""`source = "timm:NAME"`: timm builds the architecture without network; what cannot be had is a diagnostic."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.timm_models import import_timm, meta_timm
from freezeplan.api import compile_plan
from freezeplan.cli.program import run
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.models.overriding import with_model
from freezeplan.models.resolve import resolve_source
from freezeplan.models.sources import inventory_for
from freezeplan.outside import hub
from freezeplan.spec.reading import load_spec
from tests.models.sources import TASKS, spec_of

timm = import_timm()
needs_timm = pytest.mark.skipif(timm is None, reason="timm is not installed")
SPEC = """
[model]
source = "timm:test_vit"

[[rule]]
match = "**"
state = "trainable"
layer_decay = { formula = "timm", rate = 0.5 }
"""


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where anything asks the hub."""

    def refuse(*args: object, **options: object) -> Path:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(hub, "fetched_config", refuse)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)


def refusal(table: dict[str, Any], tasks: Any = ()) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(spec_of(table, tasks))
    (problem,) = caught.value.diagnostics
    return problem


@needs_timm
def test_timm_builds_the_architecture() -> None:
    inventory = inventory_for(spec_of({"source": "timm:test_vit"}))
    model = meta_timm("test_vit")
    assert {info.name: info.shape for info in inventory.params} == {
        name: tuple(tensor.shape) for name, tensor in model.named_parameters()
    }
    assert (inventory.label, inventory.origin) == ("timm:test_vit", "timm's architecture")
    assert {info.rung for info in inventory.params} == set(range(8))


@needs_timm
@pytest.mark.parametrize(
    ("name", "provided"),
    [("test_vit", True), ("test_vit.r160_in1k", True), ("vit_small_patch16_18x2_224", False)],
)
def test_timm_knows_whether_there_are_weights(name: str, provided: bool) -> None:
    inventory = inventory_for(spec_of({"source": f"timm:{name}"}))
    assert {info.loaded for info in inventory.params} == {provided}


@needs_timm
def test_the_number_format_is_the_specs() -> None:
    inventory = inventory_for(spec_of({"source": "timm:resnet18", "dtype": "bfloat16"}))
    assert {info.dtype for info in inventory.params} == {"bfloat16"}


@needs_timm
def test_the_plan_of_the_source_is_that_of_the_live_model(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    spec = load_spec(path)
    planned = compile_plan(inventory_for(spec), spec)
    live = compile_plan(meta_timm("test_vit"), spec)
    assert [(group.name, group.lr, group.members) for group in planned.groups] == [
        (group.name, group.lr, group.members) for group in live.groups
    ]


@needs_timm
@pytest.mark.parametrize("command", ["show", "check", "why", "params"])
def test_the_commands_work_with_it(command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    words = {"why": [str(path), "blocks.0.attn.qkv.weight"], "params": ["timm:test_vit"]}.get(
        command, [str(path)]
    )
    with pytest.raises(SystemExit) as done:
        sys.exit(run([command, *words]))
    assert done.value.code in (0, None)
    assert {"why": "group 1", "check": "ok", "show": "group 7", "params": "blocks[5]"}[
        command
    ] in capfd.readouterr().out


@needs_timm
def test_another_model_by_the_command_line() -> None:
    spec = with_model(spec_of({"architecture": "bert"}), "timm:resnet18")
    assert inventory_for(spec).label == "timm:resnet18"


@needs_timm
@pytest.mark.parametrize(
    ("name", "message", "help_"),
    [
        (
            "vit_tiny_patch16_225",
            "timm knows no model `vit_tiny_patch16_225`",
            "did you mean `vit_tiny_patch16_224`?",
        ),
        ("resnet18.a1_in1", "timm knows no weights `a1_in1` of `resnet18`", "did you mean `a1_in1k`?"),
        ("hf-hub:timm/resnet18", "timm knows no model `hf-hub:timm/resnet18`", "`timm.list_models()`"),
        ("", "timm knows no model ``", "`timm.list_models()`"),
    ],
)
def test_unknown_names_are_refused_with_the_closest(name: str, message: str, help_: str) -> None:
    problem = refusal({"source": f"timm:{name}"})
    assert (problem.code, problem.message, problem.where) == ("FP185", message, "model.source")
    assert help_ in (problem.help or "")


@needs_timm
def test_what_timm_raises_is_a_diagnostic(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ValueError("no such\nthing")

    monkeypatch.setattr(timm, "create_model", fail)
    problem = refusal({"source": "timm:resnet18"})
    assert (problem.code, problem.message) == ("FP154", "timm cannot build `resnet18`: no such")


@pytest.fixture
def unimported() -> Iterator[None]:
    """Take timm out of what is imported, and put it back."""
    kept = {
        name: module
        for name, module in sys.modules.items()
        if name.partition(".")[0] in ("timm", "torchvision")
    }
    for name in kept:
        del sys.modules[name]
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("timm", "torchvision")]:
        del sys.modules[name]
    sys.modules.update(kept)


@needs_timm
def test_without_torchvision_timm_is_refused_with_advice(unimported: None) -> None:
    sys.modules["torchvision"] = None  # type: ignore[assignment]
    problem = refusal({"source": "timm:resnet18"})
    assert problem.code == "FP184" and "torchvision" in problem.message
    assert "install the release of torchvision that is made for this torch (found: torch" in (
        problem.help or ""
    )


def test_without_timm_it_is_refused_with_advice(unimported: None) -> None:
    sys.modules["timm"] = None  # type: ignore[assignment]
    problem = refusal({"source": "timm:resnet18"})
    assert (problem.code, problem.message) == ("FP184", "timm is not installed")
    assert problem.help == "install what is missing: `timm`"


@pytest.mark.parametrize(
    ("more", "tasks", "where"),
    [
        ({}, TASKS, "model.source"),
        ({"class": "AutoModel"}, (), "model.class"),
        ({"revision": "main"}, (), "model.revision"),
    ],
)
def test_what_a_model_of_timm_cannot_take_is_refused_at_its_key(
    more: dict[str, Any], tasks: Any, where: str
) -> None:
    problem = refusal({"source": "timm:resnet18"} | more, tasks)
    assert (problem.code, problem.where) == ("FP186", where)


def test_an_architecture_beside_it_is_noted() -> None:
    source = resolve_source(spec_of({"source": "timm:resnet18", "architecture": "bert"}))
    assert source.notes == ("`architecture` is not used: timm knows what its model is",)
    assert json.dumps(source.config) == '{"architecture": "resnet18"}'


@needs_timm
def test_its_cost_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    with pytest.raises(SystemExit):
        sys.exit(run(["show", str(path), "--cost"]))
    assert "FP480" in capfd.readouterr().err
