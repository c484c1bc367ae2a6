"""Real weights: what is loaded, what is new, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.models.loading import load_model, load_tokenizer
from freezeplan.models.run_record import RUN_MARKER, RunRecord, RunTask, read_run
from freezeplan.models.sealed import file_sha256, write_sealed
from freezeplan.models.sources import inventory_for
from freezeplan.outside.quiet import quiet
from freezeplan.spec.tables import Spec
from tests.models.sources import TASKS, saved, spec_of, tiny

SMALL = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}
HEADS = [f"heads.{task}.linear.{part}" for task in ("mood", "time") for part in ("weight", "bias")]


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    return left.dtype == right.dtype and torch.equal(left, right)


def write_marker(folder: Path, record: RunRecord) -> dict[str, str]:
    files = {item.name: file_sha256(item) for item in folder.iterdir()}
    weights = {name: digest for name, digest in files.items() if name.endswith(".safetensors")}
    write_sealed(folder / RUN_MARKER, record.as_record() | {"weights": weights, "files": files})
    return files


def write_run(folder: Path, spec: Spec) -> torch.nn.Module:
    """Write a run's folder the way training ends, with heads that were moved, and return its model."""
    model, _ = load_model(spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    folder.mkdir()
    model.backbone.config.save_pretrained(folder)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "all.safetensors")
    tasks = {task.name: RunTask(tuple(task.labels or ())) for task in spec.task}
    write_marker(folder, RunRecord(tasks))
    return model


def test_the_backbone_is_loaded_and_the_heads_are_new(tmp_path: Path) -> None:
    source = tiny()
    spec = spec_of({"source": str(saved(tmp_path, source))}, TASKS)
    model, record = load_model(spec)
    assert record.fresh == tuple(HEADS)
    assert record.loaded == tuple(f"backbone.{name}" for name, _ in source.named_parameters())
    loaded = dict(model.backbone.named_parameters())
    assert all(same(tensor, loaded[name]) for name, tensor in source.named_parameters())
    assert model.training


@pytest.mark.parametrize("tasks", [TASKS, []], ids=["tasks", "no tasks"])
@pytest.mark.parametrize("model_type", ["bert", "distilbert"])
def test_what_was_shown_is_what_is_loaded(model_type: str, tasks: list[dict], tmp_path: Path) -> None:
    spec = spec_of({"source": str(saved(tmp_path, tiny(model_type)))}, tasks)
    shown = inventory_for(spec)
    model, record = load_model(spec)
    real = inventory_of(model, loaded=set(record.loaded).__contains__)
    assert (shown.params, shown.modules, shown.stacks, shown.role_nodes) == (
        real.params, real.modules, real.stacks, real.role_nodes,
    )  # fmt: skip


def test_new_heads_depend_on_the_seed_and_their_name_alone(tmp_path: Path) -> None:
    source = {"source": str(saved(tmp_path))}
    torch.manual_seed(1)
    first, _ = load_model(spec_of(source, TASKS))
    torch.manual_seed(2)
    again, _ = load_model(spec_of(source, TASKS[::-1]))
    other, _ = load_model(spec_of(source, TASKS, train={"seed": 14}))
    for name in ("mood", "time"):
        weight = first.heads[name].linear.weight
        assert same(weight, again.heads[name].linear.weight)
        assert not torch.equal(weight, other.heads[name].linear.weight)
        assert 0.005 < weight.std() < 0.05
        assert not first.heads[name].linear.bias.any()


def test_loading_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    spec = spec_of({"source": str(saved(tmp_path, tiny("bert", "AutoModelForMaskedLM")))}, TASKS)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load_model(spec)
    assert torch.equal(before, torch.get_rng_state())


def test_a_pooler_may_be_new_and_is_the_same_each_time(tmp_path: Path) -> None:
    spec = spec_of({"source": str(saved(tmp_path, tiny("bert", "AutoModelForMaskedLM")))}, TASKS)
    first, record = load_model(spec)
    assert record.fresh == ("backbone.pooler.dense.weight", "backbone.pooler.dense.bias", *HEADS)
    assert record.unused
    assert all(name.startswith("cls.") for name in record.unused)
    second, _ = load_model(spec)
    assert same(first.backbone.pooler.dense.weight, second.backbone.pooler.dense.weight)


def test_a_run_comes_back_with_its_heads(tmp_path: Path) -> None:
    spec = spec_of({"source": str(saved(tmp_path / "model"))}, TASKS)
    run = write_run(tmp_path / "run", spec)
    later = spec_of({"source": str(tmp_path / "run")}, TASKS)
    assert {info.loaded for info in inventory_for(later).params} == {True}
    model, record = load_model(later)
    assert record.fresh == ()
    state = model.state_dict()
    assert all(same(tensor, state[name]) for name, tensor in run.state_dict().items())


def test_a_task_that_a_run_lacks_gets_a_new_head(tmp_path: Path) -> None:
    write_run(tmp_path / "run", spec_of({"source": str(saved(tmp_path / "model"))}, TASKS[:1]))
    later = spec_of({"source": str(tmp_path / "run")}, TASKS)
    fresh = [info.name for info in inventory_for(later).params if not info.loaded]
    _, record = load_model(later)
    assert list(record.fresh) == fresh == HEADS[2:]


def test_labels_of_a_run_need_not_be_repeated(tmp_path: Path) -> None:
    write_run(tmp_path / "run", spec_of({"source": str(saved(tmp_path / "model"))}, TASKS))
    later = spec_of({"source": str(tmp_path / "run")}, [{"name": "time"}])
    model, record = load_model(later)
    assert model.heads["time"].linear.out_features == 3
    assert record.fresh == ()


def test_a_run_without_tasks_is_its_backbone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", spec_of({"source": str(saved(tmp_path / "model"))}, TASKS))
    for class_name, pick in (("AutoModel", lambda m: m), ("BertForMaskedLM", lambda m: m.bert)):
        spec = spec_of({"source": str(tmp_path / "run"), "class": class_name})
        shown = {info.name: info.loaded for info in inventory_for(spec).tensors}
        model, record = load_model(spec)
        assert record.loaded == tuple(name for name, loaded in shown.items() if loaded)
        state = run.backbone.state_dict()
        assert all(same(tensor, state[name]) for name, tensor in pick(model).state_dict().items())


def test_tied_tensors_of_a_file_are_loaded_under_all_names(tmp_path: Path) -> None:
    source = tiny("bert", "AutoModelForMaskedLM")
    folder = saved(tmp_path, source)
    model = {"source": str(folder / "model.safetensors"), "architecture": str(folder / "config.json")}
    loaded, record = load_model(spec_of(model | {"class": "BertForMaskedLM"}))
    assert record.fresh == ()
    assert loaded.cls.predictions.decoder.weight is loaded.bert.embeddings.word_embeddings.weight
    assert same(loaded.bert.embeddings.word_embeddings.weight, source.bert.embeddings.word_embeddings.weight)


def test_an_architecture_alone_is_new_and_the_same_each_time() -> None:
    config = {"model_type": "bert", "num_hidden_layers": 1, "hidden_size": 24, "vocab_size": 9}
    spec = spec_of({"config": config}, TASKS)
    (first, record), (second, _) = load_model(spec), load_model(spec)
    assert record.loaded == ()
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(same(left, right) for left, right in pairs)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_the_number_format_is_the_specs(dtype: str, tmp_path: Path) -> None:
    spec = spec_of({"source": str(saved(tmp_path)), "dtype": dtype}, TASKS)
    model, _ = load_model(spec)
    assert {str(tensor.dtype) for tensor in model.parameters()} == {f"torch.{dtype}"}
    assert {info.dtype for info in inventory_for(spec).params} == {dtype}


def damage_names(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state.pop("encoder.layer.1.output.dense.weight")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def damage_shapes(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 24}), "utf-8")


def damage_bytes(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def only_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


DAMAGES = {damage_names: "FP169", damage_shapes: "FP169", damage_bytes: "FP169", only_pickle: "FP168"}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_unfit_weights_are_refused(damage, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = saved(tmp_path)
    capfd.readouterr()
    damage(folder)
    with pytest.raises(DiagnosticError) as caught:
        load_model(spec_of({"source": str(folder)}, TASKS))
    (problem,) = caught.value.diagnostics
    assert problem.code == DAMAGES[damage]
    assert "\n" not in problem.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", ["", "[]", '{"format_version": 1}', '{"format_version": 2, "tasks": {}}'])
def test_a_broken_run_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / RUN_MARKER).write_text(content, "utf-8")
    with pytest.raises(DiagnosticError, match="FP164"):
        inventory_for(spec_of({"source": str(tmp_path)}, TASKS))


def test_a_run_record_survives_its_json(tmp_path: Path) -> None:
    record = RunRecord({"a": RunTask(("x", "y"))}, "cls", "spec.toml")
    (tmp_path / "all.safetensors").write_bytes(b"")
    files = write_marker(tmp_path, record)
    assert read_run(tmp_path) == replace(record, weights=files, files=files)


@pytest.mark.parametrize("model_type", ["bert", "roberta", "gpt2", "mpnet"])
def test_a_tokenizer_without_its_vocabulary_is_refused(model_type: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}), "utf-8")
    with pytest.raises(DiagnosticError, match="ships no vocabulary") as caught:
        load_tokenizer(spec_of({"source": str(tmp_path)}))
    assert [item.code for item in caught.value.diagnostics] == ["FP171"]


def test_a_tokenizer_of_one_file_is_enough_for_any_type(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    (folder / "tokenizer_config.json").unlink()
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}), "utf-8")
    assert load_tokenizer(spec_of({"source": str(folder)}))("good day")["input_ids"]


def test_the_tokenizer_comes_with_the_source(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(spec_of({"source": str(saved(tmp_path))}))
    assert tokenizer("good day")["input_ids"] == [2, 5, 7, 3]


def test_loading_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spec = spec_of({"source": str(saved(tmp_path, tiny("bert", "AutoModelForMaskedLM")))}, TASKS)
    capfd.readouterr()
    load_model(spec)
    load_tokenizer(spec)
    assert capfd.readouterr() == ("", "")


def test_a_stand_in_is_never_trained() -> None:
    spec = spec_of({"source": "./runs/later", "architecture": "distilbert"}, TASKS)
    with pytest.raises(DiagnosticError, match="FP150.*training needs its weights"):
        load_model(spec)


def untied(folder: Path) -> Path:
    """Save a model whose config says that its head is tied to its embeddings, and whose weights say otherwise."""
    model = tiny("bert", "AutoModelForMaskedLM")
    model.config.tie_word_embeddings = False
    model.cls.predictions.decoder.weight = torch.nn.Parameter(torch.ones(9, 8))
    model.cls.predictions.decoder.bias = torch.nn.Parameter(torch.ones(9))
    saved(folder, model)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    return folder


def test_a_checkpoint_that_is_not_tied_is_shown_as_it_loads(tmp_path: Path) -> None:
    spec = spec_of({"source": str(untied(tmp_path)), "class": "BertForMaskedLM"})
    shown = inventory_for(spec)
    model, record = load_model(spec)
    real = inventory_of(model, loaded=set(record.loaded).__contains__)
    assert (shown.params, shown.role_nodes) == (real.params, real.role_nodes)
    heads = [info.name for info in shown.tensors if info.name.endswith("decoder.weight")]
    assert heads == ["cls.predictions.decoder.weight"]


def test_the_same_values_twice_are_tied_as_the_config_says(tmp_path: Path) -> None:
    spec = spec_of({"source": str(untied(tmp_path)), "class": "BertForMaskedLM"})
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    shown, (model, _) = inventory_for(spec), load_model(spec)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert shown.params == inventory_of(model, loaded=lambda name: True).params


def test_weights_of_another_shape_are_named_with_both_shapes(tmp_path: Path) -> None:
    saved(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"vocab_size": 12}))
    with pytest.raises(DiagnosticError) as caught:
        load_model(spec_of({"source": str(tmp_path)}, TASKS))
    (problem,) = caught.value.diagnostics
    assert problem.code == "FP169"
    assert "`embeddings.word_embeddings.weight` is 9 x 8 there and 12 x 8 by the config" in problem.message


@pytest.mark.parametrize(
    ("model_type", "class_name", "config"),
    [
        (
            "llava",
            "AutoModelForImageTextToText",
            {
                "text_config": {"model_type": "llama", "num_key_value_heads": 1, "vocab_size": 9, **SMALL},
                "vision_config": {
                    "model_type": "clip_vision_model",
                    "image_size": 28,
                    "patch_size": 14,
                    **SMALL,
                },
            },
        ),
        (
            "segformer",
            "AutoModelForSemanticSegmentation",
            {
                "depths": [1] * 4,
                "hidden_sizes": [4, 8, 8, 8],
                "num_attention_heads": [1] * 4,
                "decoder_hidden_size": 8,
            },
        ),
    ],
    ids=["llava", "segformer"],
)
def test_a_head_under_its_name_in_the_checkpoint_is_provided(
    model_type: str, class_name: str, config: dict, tmp_path: Path
) -> None:
    """Transformers saves some models by other names than they have in memory."""
    config = transformers.AutoConfig.for_model(model_type, **config)
    with quiet():
        getattr(transformers, class_name).from_config(config).save_pretrained(tmp_path)
    spec = spec_of({"source": str(tmp_path), "class": class_name})
    assert {info.loaded for info in inventory_for(spec).params} == {True}


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
@pytest.mark.parametrize("call", ["from_pretrained", "from_config"])
def test_too_little_memory_is_no_fault_of_the_weights_or_the_config(
    call: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"source": str(saved(tmp_path))} if call == "from_pretrained" else {"architecture": "bert"}

    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(transformers.AutoModel, call, fail)
    with pytest.raises(DiagnosticError, match="FP504.*too little memory for the weights"):
        load_model(spec_of(spec, TASKS))


def test_a_run_that_is_not_tied_is_shown_as_it_loads(tmp_path: Path) -> None:
    config = {"d_model": 8, "d_ff": 8, "num_layers": 1, "num_heads": 2, "d_kv": 4, "vocab_size": 9}
    with quiet():
        model = transformers.AutoModel.from_config(transformers.T5Config(**config))
        model.save_pretrained(tmp_path / "t5")
    first, _ = load_model(spec_of({"source": str(tmp_path / "t5")}, TASKS))
    first.backbone.config.save_pretrained(tmp_path / "run")
    tensors = {name: tensor.detach().clone() for name, tensor in first.named_parameters()}
    tensors["backbone.encoder.embed_tokens.weight"] = torch.ones(9, 8)
    save_file(tensors, tmp_path / "run" / "all.safetensors")
    write_marker(
        tmp_path / "run", RunRecord({task["name"]: RunTask(tuple(task["labels"])) for task in TASKS})
    )
    spec = spec_of({"source": str(tmp_path / "run")}, TASKS)
    shown, (loaded, record) = inventory_for(spec), load_model(spec)
    assert torch.equal(loaded.backbone.encoder.embed_tokens.weight, torch.ones(9, 8))
    assert shown.params == inventory_of(loaded, loaded=set(record.loaded).__contains__).params
    assert "backbone.encoder.embed_tokens.weight" in [info.name for info in shown.tensors]
