"""Export tasks of every kind on many architectures to every library, and print how far each is from the run.

``python -m benchmarks.exports [TYPE ...] [--to LIBRARY ...] [--kinds KIND ...]`` builds a tiny random model of each
architecture, trains a task of each kind and each head on it, and exports each of them. A row says the largest
difference between the run and what the library loads, over some inputs, or why the export is refused.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
import transformers  # noqa: E402

from freezeplan.diagnostics import DiagnosticError  # noqa: E402
from freezeplan.export import FORM_NAMES  # noqa: E402
from freezeplan.export.exporting import export  # noqa: E402
from freezeplan.outside.quiet import quiet  # noqa: E402
from freezeplan.train.run import train  # noqa: E402
from tests.prefix.architectures import ARCHITECTURES, IMAGE, Architecture  # noqa: E402
from tests.train.targets import tasks_of_every_kind, write_targets  # noqa: E402
from tests.train.tiny import tiny_tokenizer, toy_data, toy_spec  # noqa: E402
from tests.train.vision import digits_spec, write_digits  # noqa: E402

TYPES = (
    *("bert", "distilbert", "roberta", "deberta-v2", "modernbert", "electra", "mpnet", "gpt2", "llama", "t5"),
    *("vit", "convnext", "resnet"),
)
TRAINED = [{"match": "**", "state": "trainable"}]
NATIVE = {"head": "native"}
KINDS = ("topic", "said", "words", "ner")
OF_VECTORS = ("alike", "compared", "pick")
OWN = {"similarity": "cosine", "embedding": "vectors", "causal_lm": "the model's own"}
NONE = "-"
ROW = "{:14}{:34}{:24}{}"


def text_tasks(folder: Path) -> list[dict[str, Any]]:
    """Return a task of each kind with a linear head or its own, then one with a native head where there is one."""
    given = [task for task in tasks_of_every_kind(folder) if task["name"] in (*KINDS, *OF_VECTORS)]
    plain = [task | ({} if task["name"] in OF_VECTORS else {"dropout": 0.0}) for task in given]
    language = {"name": "language", "kind": "causal_lm", "data": toy_data(folder, "none")}
    del language["data"]["label"]
    pair = {"name": "pair", "data": toy_data(folder, "mood", text_pair="other")}
    stock = [task | NATIVE for task in [*given, pair] if task["name"] not in OF_VECTORS]
    return [*plain, language, *stock]


def save_source(row: Architecture, folder: Path) -> Path:
    """Save a random model of an architecture with a tokenizer or an image processor."""
    with quiet():
        config = transformers.AutoConfig.for_model(row.model_type, **row.settings)
        torch.manual_seed(1)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
        if row.reads == IMAGE:
            size = {"height": 16, "width": 16}
            transformers.ViTImageProcessorPil(size=size).save_pretrained(folder)
        else:
            tiny_tokenizer().save_pretrained(folder)
    return folder


def runs_of(
    row: Architecture, data: Path, place: Path, kinds: Sequence[str] | None
) -> Iterator[tuple[str, Path | str]]:
    """Yield what each task is, and its run, or why there is none where its head cannot be."""
    source = str(save_source(row, place / "source"))
    if row.reads == IMAGE:
        for head in ("linear", "native"):
            model = {"source": source} | ({"pooling": "cls"} if head == "linear" else {})
            spec = digits_spec(data, model, ("parity",), rule=TRAINED, train={"epochs": 1, "batch_size": 256})
            spec = spec.model_copy(update={"task": [spec.task[0].model_copy(update={"head": head})]})
            yield from _trained(spec, place / head, f"classification, {head}")
        return
    tables = {"rule": TRAINED, "optimizer": {"lr": 1e-3}, "train": {"epochs": 1, "batch_size": 16}}
    for number, task in enumerate(text_tasks(data)):
        if kinds and task.get("kind", "classification") not in kinds:
            continue
        spec = toy_spec(data, model={"source": source}, task=[task], **tables)
        yield from _trained(spec, place / f"run{number}", _said(task))


def _said(task: dict[str, Any]) -> str:
    kind = task.get("kind", "classification")
    pair = " of pairs" if task["name"] == "pair" else ""
    return f"{kind}{pair}, {task.get('head', OWN.get(kind, 'linear'))}"


def _trained(spec: Any, out: Path, said: str) -> Iterator[tuple[str, Path | str]]:
    try:
        with quiet():
            yield said, train(spec, out).folder
    except DiagnosticError as error:
        yield said, f"refused: {error.diagnostics[0].message}"


def verdict(run: Path, form: str, out: Path) -> str:
    """Return the largest difference of an export and what loads it, or why it is refused."""
    try:
        with quiet():
            found = export(run, form, out)
    except DiagnosticError as error:
        return f"refused: {error.diagnostics[0].message}"
    return f"{found.difference:.0e} as {found.loads_as}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row per architecture, task and library."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports", description=__doc__)
    parser.add_argument("types", nargs="*", metavar="TYPE", help=f"default: {', '.join(TYPES)}")
    parser.add_argument("--to", nargs="+", choices=FORM_NAMES, default=FORM_NAMES)
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="kinds of tasks; default: all")
    options = parser.parse_args(arguments)
    print(ROW.format("", "task", "library", "largest difference"))
    with tempfile.TemporaryDirectory(prefix="freezeplan-exports-") as place:
        found = list(_rows(Path(place), options))
    refused = sum(verdict.startswith("refused") for verdict in found)
    print(f"{len(found) - refused} exports give the run's outputs, {refused} are refused")


def _rows(place: Path, options: argparse.Namespace) -> Iterator[str]:
    """Print each row as it is known, and yield its verdict."""
    for name, write in (("texts", lambda folder: write_targets(folder, 32, 12)), ("images", write_digits)):
        (place / name).mkdir()
        write(place / name)
    for row in (row for row in ARCHITECTURES if row.label in (options.types or TYPES)):
        (place / row.label).mkdir()
        data = place / ("images" if row.reads == IMAGE else "texts")
        for said, run in runs_of(row, data, place / row.label, options.kinds):
            for form in options.to if isinstance(run, Path) else [NONE]:
                found = (
                    run if isinstance(run, str) else verdict(run, form, run.with_name(f"{run.name}-{form}"))
                )
                print(ROW.format(row.label, said, form, found), flush=True)
                yield found


if __name__ == "__main__":
    main()
