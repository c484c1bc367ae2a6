"""Turns a model's config from a plain dict into transformers' config object."""

from __future__ import annotations

from typing import Any

from freezeplan.diagnostics.wording import closest
from freezeplan.models.limits import check_size
from freezeplan.models.refusals import refused
from freezeplan.models.remote_code import place_of, revision_of, trusts
from freezeplan.models.resolve import Source
from freezeplan.outside.quiet import quiet
from freezeplan.spec.locations import error_at_key
from freezeplan.spec.tables import Spec

# In the order they are asked: what a last projection or neck puts out comes before what the layers use.
HIDDEN_SIZES = (
    "word_embed_proj_dim",
    "neck_hidden_sizes",
    "hidden_size",
    "d_model",
    "dim",
    "hidden_dim",
    "n_embd",
    "hidden_sizes",
    "embed_dims",
    "embed_dim",
)


def config_object(source: Source, spec: Spec) -> Any:
    """Return the config object of a source; raises FP152, FP153, FP154, FP158 or FP175."""
    check_size(source)
    config = dict(source.config or {})
    if trusts(spec) and "auto_map" in config:
        return _remote(source, spec)
    model_type = config.pop("model_type", None)
    if not isinstance(model_type, str) or not model_type:
        advice = 'add `model_type`, for example "bert"'
        raise error_at_key(source.config_at, "FP152", "the model's config has no `model_type`", help=advice)
    _check_known(source, model_type, config)
    return _made(source, model_type, config)


def _check_known(source: Source, model_type: str, config: dict[str, Any]) -> None:
    from transformers import CONFIG_MAPPING

    known = sorted(CONFIG_MAPPING.keys())
    if model_type in known:
        return
    if "auto_map" in config:
        message = f"`{model_type}` needs code that the model ships"
        advice = "read that code, then set `trust_remote_code = true` in [model]"
        raise error_at_key(source.config_at, "FP158", message, help=advice)
    advice = closest(model_type, known) or "a newer release of transformers may have it"
    message = f"transformers knows no model type `{model_type}`"
    raise error_at_key(source.config_at, "FP153", message, help=advice)


def _made(source: Source, model_type: str, config: dict[str, Any]) -> Any:
    from transformers import CONFIG_MAPPING

    try:
        with quiet():
            return CONFIG_MAPPING[model_type].from_dict(config)
    except Exception as error:
        raise refused(source, error) from None


def _remote(source: Source, spec: Spec) -> Any:
    from transformers import AutoConfig

    options = {"revision": revision_of(source, spec)} if source.kind == "hub" else {"local_files_only": True}
    try:
        with quiet():
            return AutoConfig.from_pretrained(place_of(source), trust_remote_code=True, **options)
    except Exception as error:
        raise refused(source, error) from None


def hidden_size(config: Any) -> int | None:
    """Return the size of the vectors that a model's last layer puts out, None when the config does not say.

    Reads ``hidden_size`` (or what the config calls it); of a list, one per stage, the last.
    """
    for owner in (config, _text_config(config)):
        for name in HIDDEN_SIZES:
            value = getattr(owner, name, None)
            value = value[-1] if isinstance(value, (list, tuple)) and value else value
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None


def _text_config(config: Any) -> Any:
    try:
        return config.get_text_config()
    except ValueError:  # several texts, as in some speech models: none of them speaks for the whole
        return None
