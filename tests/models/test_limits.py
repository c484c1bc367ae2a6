"""What a config may ask for: more than is ever built is refused before it is built, with a way around."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.models.config_file import parsed
from freezeplan.models.limits import MODULES, SETTING
from freezeplan.models.sources import inventory_for
from tests.models.sources import TASKS, spec_of

MANY = 10**9
BERT = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
BERT |= {"intermediate_size": 16, "vocab_size": 20}
SWIN = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "image_size": 32}
LLAMA = BERT | {"model_type": "llama", "num_key_value_heads": 1}


def refused(config: dict[str, Any]) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        inventory_for(spec_of({"config": config}))
    (problem,) = caught.value.diagnostics
    return problem


def deep(levels: int) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for _ in range(levels):
        table = {"inner": table}
    return table


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (BERT | {"num_hidden_layers": MANY}, "1,000,000,000 layers (`num_hidden_layers`)"),
        (SWIN | {"depths": [1, MANY]}, "1,000,000,001 layers (`depths`)"),
        (SWIN | {"depths": [0] * 10_001}, "10,001 layers (`depths`)"),
        (
            {"model_type": "clip", "vision_config": {"num_hidden_layers": MANY}},
            "(`vision_config.num_hidden_layers`)",
        ),
        (BERT | {"num_labels": MANY}, "1,000,000,000 labels (`num_labels`)"),
        (BERT | {"num_hidden_layers": 10**16}, "more than 10^15 layers"),
        (BERT | {"extra": deep(60)}, "tables nested more than 50 deep"),
    ],
)
def test_what_is_never_built_is_refused_at_once(
    config: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise AssertionError("it was built")

    monkeypatch.setattr(transformers.PreTrainedConfig, "from_dict", fail)
    problem = refused(config)
    assert problem.code == "FP175" and said in problem.message
    assert any(SETTING in note for note in problem.notes)


def test_modules_are_counted_whatever_the_keys_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "200")
    config = {
        "model_type": "nllb-moe",
        "d_model": 8,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
    }
    config |= {"encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "encoder_layers": 4, "decoder_layers": 4}
    assert "more than 200 modules" in refused(config | {"num_experts": 100}).message


def test_the_setting_lets_a_larger_model_through_and_nonsense_in_it_is_no_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = BERT | {"num_hidden_layers": 12}
    monkeypatch.setenv(SETTING, "100")
    assert "12 layers" in refused(config).message
    for text in (str(MODULES), "1e9", "-1", "0", "9" * 40):
        monkeypatch.setenv(SETTING, text)
        assert inventory_for(spec_of({"config": config})).stacks[0].length == 12


def test_infinity_as_transformers_writes_it_is_a_number(tmp_path: Path) -> None:
    config = transformers.Mamba2Config(
        hidden_size=8, num_hidden_layers=1, num_heads=2, head_dim=8, state_size=4
    )
    config.save_pretrained(tmp_path)
    assert "__float__" in (tmp_path / "config.json").read_text()
    shown = inventory_for(spec_of({"source": str(tmp_path)}))
    assert {info.module for info in shown.params if "mixer" in info.module}
    table = parsed(b'{"a": [{"__float__": "-Infinity"}], "b": {"__float__": "x"}, "c": {"__float__": 1}}')
    assert table == {"a": [-math.inf], "b": {"__float__": "x"}, "c": {"__float__": 1}}
    assert math.isnan(parsed(b'{"__float__": "NaN"}'))


def test_a_number_of_thousands_of_digits_is_a_diagnostic(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "vocab_size": ' + "9" * 5000 + "}")
    with pytest.raises(DiagnosticError, match="FP152.*a number of 5000 digits"):
        inventory_for(spec_of({"source": str(tmp_path)}))


KEYS = [
    "attribute_map", "auto_map", "quantization_config", "vision_config", "text_config",
    "id2label", "label2id", "architectures", "dtype", "torch_dtype", "num_labels",
    "problem_type", "layer_types", "rope_parameters", "_attn_implementation",
    "tie_word_embeddings", "is_encoder_decoder", "pad_token_id", "hidden_act", "model_type",
    "sub_configs", "transformers_weights", "output_hidden_states", "to_dict", "from_dict",
    "get_text_config", "is_decoder", "backbone", "backbone_config", "encoder",
    "generation_config", "_commit_hash",
]  # fmt: skip
SCALARS = st.sampled_from(
    [
        None,
        True,
        False,
        -1,
        0,
        1,
        3,
        10**30,
        2**63,
        1.5,
        math.inf,
        math.nan,
        "",
        "x",
        "bert",
        "float16",
        "cuda",
        "\0",
    ]
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYS, "0"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("value", [[None], [1], {"a": 1}])
def test_a_table_of_names_may_hold_anything(value: Any) -> None:
    spec = spec_of({"architecture": "bert"}, [])
    table = spec.model.model_copy(update={"architecture": None, "config": BERT | {"attribute_map": value}})
    assert inventory_for(spec.model_copy(update={"model": table})).params


@settings(max_examples=60)
@given(st.data())
def test_no_config_is_an_internal_error(data: st.DataObject) -> None:
    """A config is an inventory or a diagnostic of one line, never another exception."""
    config = dict(data.draw(st.sampled_from([BERT, SWIN, LLAMA])))
    for key in data.draw(st.lists(st.sampled_from([*KEYS, *config]), min_size=1, max_size=2)):
        config[key] = data.draw(JUNK)
    model = data.draw(st.sampled_from([{}, {"class": "AutoModelForSequenceClassification"}]))
    spec = spec_of(
        {"architecture": "bert", **model}, data.draw(st.sampled_from([[], TASKS])) if not model else []
    )
    spec = spec.model_copy(
        update={"model": spec.model.model_copy(update={"architecture": None, "config": config})}
    )
    try:
        assert isinstance(inventory_for(spec), Inventory)
    except DiagnosticError as error:
        assert all(item.code.startswith("FP1") and "\n" not in item.message for item in error.diagnostics)


def test_a_config_s_junk_reaches_the_file_reader_too(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(BERT | {"attribute_map": ["a"], "id2label": [1]}))
    with pytest.raises(DiagnosticError, match="FP154"):
        inventory_for(spec_of({"source": str(tmp_path)}))
