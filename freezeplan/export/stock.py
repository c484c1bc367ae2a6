"""A run's task as a model of a class that transformers has, in a folder that its `from_pretrained` loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from freezeplan.data.modality import IMAGE
from freezeplan.diagnostics import DiagnosticError
from freezeplan.diagnostics.wording import first_line, quoted
from freezeplan.export.form import IN_PYTHON, ExportForm
from freezeplan.export.inputs import ProofInputs
from freezeplan.export.proof import Side, refused, without_padding
from freezeplan.export.usage import pipeline_code
from freezeplan.models.build import dtype_of, from_config
from freezeplan.models.classes import model_class
from freezeplan.models.native import NativeHead, stock_config
from freezeplan.models.resolve import resolve_source
from freezeplan.outside.quiet import quiet
from freezeplan.train.language import LanguageEncoder
from freezeplan.train.saved_run import SavedRun

NATIVE = 'train it with `head = "native"`, or use `freezeplan.load_run` in Python'


class Stock(ExportForm):
    """A task as a model of a class that transformers has, with its tokenizer or image processor."""

    name = library = "transformers"

    def write(self, run: SavedRun, task: str, folder: Path, inputs: ProofInputs) -> str:
        """Write the stock model; returns its class's name."""
        return write_stock(run, task, folder)

    def code(self, run: SavedRun, task: str) -> str:
        """Return code that runs the stock model, by `pipeline` where it can."""
        kind = run.kinds[task]
        return pipeline_code(kind.stock[run.encoder.kind.name], kind, run.encoder.kind.name)

    def theirs(self, folder: Path, run: SavedRun, task: str) -> Side:
        """Return the logits of what transformers loads."""
        return loaded_stock(folder, run, task)

    def apart(self, run: SavedRun, task: str, loads_as: str) -> tuple[str, str]:
        """Return that a linear head reads what the stock one does not."""
        if run.record["tasks"][task].get("head") == "native":
            return super().apart(run, task, loads_as)
        if run.kinds[task].reads_words:
            return f"`{loads_as}` does not read the states of tokens as a linear head does", NATIVE
        reads = f"as a linear head on `{run.spec.model.pooling}` pooling does"
        return f"the head of `{loads_as}` does not read the backbone {reads}", NATIVE


def write_stock(run: SavedRun, task: str, folder: Path) -> str:
    """Write one task of a run as a stock model with its tokenizer or image processor; returns its class's name.

    Raises ``DiagnosticError`` (FP570) where no class of transformers holds such a head.
    """
    stock = stock_model(run, task)
    if run.kinds[task].own_head and stock.generation_config.eos_token_id is None:
        stock.generation_config.eos_token_id = run.encoder.tokenizer.eos_token_id
    with quiet():
        stock.save_pretrained(folder)
    run.encoder.save(folder)
    return type(stock).__name__


def stock_model(run: SavedRun, task: str) -> Any:
    """Return the stock model that holds the run's backbone and the head of one task, in eval mode."""
    source = resolve_source(run.spec)
    backbone = run.model.backbone
    kind = run.kinds[task]
    config = stock_config(backbone.config, run.labels[task], kind.problem_type)
    if not kind.own_head:
        set_padding(run, config)
    name = kind.stock.get(run.encoder.kind.name)
    if name is None:
        reason = f"transformers has no class for the task `{task}`: {kind.without_stock}"
        raise refused(reason, kind.other_form or IN_PYTHON)
    try:
        chosen = model_class(name, config, source, run.spec)
    except DiagnosticError as error:
        reason = f"transformers has no class for the task `{task}`: {error.diagnostics[0].message}"
        raise refused(reason, IN_PYTHON) from None
    with torch.random.fork_rng(devices=[]):
        stock = from_config(chosen, config, source, run.spec)
    stock.load_state_dict(_state(run, task, stock), strict=True)
    return stock.eval()


def set_padding(run: SavedRun, config: Any) -> None:
    """Let a model's config and its tokenizer know one padding token, the one that the run padded with."""
    tokenizer = getattr(run.encoder, "tokenizer", None)
    if tokenizer is None:
        return
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = _spare_token(tokenizer)
    tokenizer.padding_side = "right"
    tokenizer.model_max_length = run.encoder.max_length
    if tokenizer.pad_token_id is not None:
        config.pad_token_id = tokenizer.pad_token_id


def _spare_token(tokenizer: Any) -> str | None:
    """Return a special token to pad with: not one that ends every text, which a head would take for padding."""
    last = tokenizer("a")["input_ids"][-1:]
    found = [tokenizer.eos_token, tokenizer.unk_token, tokenizer.bos_token]
    return next(
        (token for token in found if token and tokenizer.convert_tokens_to_ids([token]) != last), None
    )


def _state(run: SavedRun, task: str, stock: Any) -> dict[str, torch.Tensor]:
    """Return the stock model's state, taken from the run: its names are all accounted for, or it is refused."""
    prefix = f"{stock.base_model_prefix}."
    wanted = stock.state_dict()
    state = {prefix + name: tensor for name, tensor in run.model.backbone.state_dict().items()}
    # A base model without a pooler stands under some heads: the run's pooler is not part of the answer.
    state = {name: tensor for name, tensor in state.items() if name in wanted}
    head = run.model.heads[task]
    if isinstance(head, NativeHead):
        state |= head.state_dict()
    else:
        own = {name: tensor for name, tensor in wanted.items() if not name.startswith(prefix)}
        state |= _linear(head.linear, own, type(stock).__name__)
    lost = [name for name in wanted if name not in state]
    if lost:
        raise refused(f"the run has no weights for {quoted(lost[:3])} of `{type(stock).__name__}`", NATIVE)
    return state


def _linear(linear: torch.nn.Linear, own: Mapping[str, torch.Tensor], stock: str) -> dict[str, torch.Tensor]:
    """Return a linear head's weights under the names of a stock head that is one linear layer, too."""
    weights = [name for name in own if name.endswith("weight")]
    if len(weights) != 1 or own[weights[0]].shape != linear.weight.shape:
        reason = f"a linear head is not what `{stock}` has: its head is {quoted(own)}"
        raise refused(reason, NATIVE)
    bias = weights[0].removesuffix("weight") + "bias"
    if bias not in own and linear.bias.any():
        reason = f"a linear head has a bias, and `{weights[0]}` of `{stock}` has none"
        raise refused(reason, NATIVE)
    return {weights[0]: linear.weight, **({bias: linear.bias} if bias in own else {})}


def loaded_stock(folder: Path, run: SavedRun, task: str) -> Side:
    """Return the other side: what transformers loads from the folder, in the run's number format."""
    import transformers

    kind = run.encoder.kind
    chosen = getattr(transformers, run.kinds[task].stock[kind.name])
    try:
        with quiet():
            model, info = chosen.from_pretrained(
                folder, local_files_only=True, dtype=dtype_of(run.spec), output_loading_info=True
            )
    except Exception as error:  # transformers raises errors of many unrelated types
        raise refused(f"transformers does not load what was written: {first_line(error)}", NATIVE) from error
    lost = [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]
    if lost:
        raise refused(f"transformers does not load {quoted(str(name) for name in lost[:3])}", NATIVE)
    encode = images_side(folder, run.encoder.channels) if kind is IMAGE else texts_side(folder)
    if isinstance(run.encoder, LanguageEncoder):
        encode = rows_side(folder, run.encoder)
    model.eval()

    def side(values: Sequence[Any]) -> torch.Tensor:
        batch = encode(values)
        return without_padding(model(**batch).logits, batch)

    return side


def texts_side(folder: Path) -> Any:
    """Return what the folder's own tokenizer makes of texts, cut where the run cuts them."""
    from transformers import AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def encode(values: Sequence[Any]) -> Any:
        pairs, words = (isinstance(values[0], form) for form in (tuple, list))
        given = [list(side) for side in zip(*values, strict=True)] if pairs else [list(values)]
        return tokenizer(
            *given, is_split_into_words=words, padding=True, truncation=True, return_tensors="pt"
        )

    return encode


def rows_side(folder: Path, encoder: LanguageEncoder) -> Any:
    """Return what the folder's own tokenizer makes of rows of a language model, cut where the run cuts them."""
    from transformers import AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    own = replace(encoder, tokenizer=tokenizer)

    def encode(values: Sequence[Any]) -> Any:
        encoded = own.encode(values)
        return own.batch(encoded, range(len(encoded)), torch.device("cpu"))

    return encode


def images_side(folder: Path, channels: int) -> Any:
    """Return what the folder's own image processor makes of images."""
    from transformers import AutoImageProcessor

    from freezeplan.data.images import read_image

    with quiet():
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)

    def encode(values: Sequence[Any]) -> Any:
        return processor([read_image(value, channels) for value in values], return_tensors="pt")

    return encode
