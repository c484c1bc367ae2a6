"""A commented spec for a file of rows, or from what a probe or a comparison found; each choice with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from freezeplan.choose.comparison_records import StrategyComparison
from freezeplan.choose.comparison_view import verdict_lines
from freezeplan.choose.from_facts import HEAD, LP_FT, DataFacts, recommended
from freezeplan.choose.measured_advice import ONE_ERROR, MeasuredAdvice
from freezeplan.choose.probe_records import ProbeReport
from freezeplan.choose.rows_file import OPTIONS, RowsFile
from freezeplan.choose.strategies import BACKBONE_RATE, HEAD_RATE, WARMUP
from freezeplan.data.column_options import at_options
from freezeplan.data.split import TaskData
from freezeplan.data.task_rows import load_task_data
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import in_quotes
from freezeplan.inventory.records import Inventory
from freezeplan.render.visible import visible
from freezeplan.runs.spec_file import spec_text
from freezeplan.spec.reading import load_spec

RATES = (
    f"{BACKBONE_RATE:g} for the backbone is the upper end of what BERT was fine-tuned with (Devlin et al., 2019, "
    f"https://arxiv.org/abs/1810.04805, appendix A.3), {HEAD_RATE:g} for the head the default rate of Adam (Kingma and "
    "Ba, 2015, https://arxiv.org/abs/1412.6980)"
)


def spec_for_rows(
    model: Mapping[str, str],
    inventory: Inventory,
    rows: RowsFile,
    folder: Path,
    probe: ProbeReport | None = None,
) -> str:
    """Return a commented spec for a file of rows, as the text of a file in ``folder``.

    What is frozen follows from the rows and labels, or, with a probe, from where features stop getting better. Raises
    ``DiagnosticError`` for rows that cannot be read.
    """
    task = rows.task(folder)
    data = _read(rows)
    labels = list(data.labels)
    facts = DataFacts(len(data.splits["train"]), len(labels))
    chosen = recommended(facts)
    assert chosen is not None
    advice = [chosen.advice, MeasuredAdvice("the learning rates", RATES), *_about_words(rows)]
    name, phases = chosen.name, list[dict[str, Any]]()
    if probe is not None:
        enough = max(item.at(item.enough).depth for item in probe.tasks)
        text = f"features stop getting better after {enough} of {len(probe.layers)} layers: those freeze"
        advice[0] = MeasuredAdvice(text, f"{ONE_ERROR}; measured by `freezeplan probe`")
        rules, name = _rules_above(enough), "probe"
        if enough == len(probe.layers):
            rules, name = [_rule("everything", "**", "frozen")], HEAD
    else:
        rules = [_rule("everything", "**", "frozen" if name in (HEAD, LP_FT) else "trainable")]
    has_pooler = "pooler" in inventory.role_nodes
    if name == LP_FT:
        phases = _heads_first(chosen.epochs, pooler=has_pooler)
    elif name != HEAD and has_pooler:
        rules.append(_rule("pooler", "@pooler", "frozen"))
    rules.append({**_rule("heads", "heads", "trainable"), "lr": HEAD_RATE})
    values: dict[str, Any] = {
        "model": dict(model),
        "optimizer": {"lr": BACKBONE_RATE},
        "schedule": {"name": "linear", "warmup": WARMUP},
        "rule": rules,
        "phase": phases,
        "task": [{**task, "labels": labels} if len(labels) <= MOST_LABELS else task],
        "train": {} if phases else {"epochs": chosen.epochs},
    }
    return _commented(advice, {key: value for key, value in values.items() if value}, _missing(rows))


MOST_LABELS = 50
"""Labels that a spec lists; more are read from the rows."""


def _rule(name: str, match: str, state: str) -> dict[str, Any]:
    return {"name": name, "match": match, "state": state}


def _rules_above(depth: int) -> list[dict[str, Any]]:
    """Return rules that train all layers but so many of the lowest, and what feeds them."""
    lower = {"name": "lower", "match": ["@embeddings", f"@layers[:{depth}]"], "state": "frozen"}
    return [_rule("everything", "**", "trainable"), *([lower] if depth else [])]


def _heads_first(epochs: int, *, pooler: bool) -> list[dict[str, Any]]:
    thaw = {"match": "backbone", "state": "trainable"} | ({"except": "@pooler"} if pooler else {})
    return [
        {"name": "heads", "epochs": 1},
        {"name": "everything", "epochs": epochs - 1, "rule": [thaw]},
    ]


def _read(rows: RowsFile) -> TaskData:
    """Read the rows as a training would."""
    spec = load_spec({"task": [rows.task(Path.cwd())]})
    try:
        tasks, _ = load_task_data(spec)
    except DiagnosticError as error:
        raise at_options(error, OPTIONS) from None
    return tasks[0]


def _about_words(rows: RowsFile) -> list[MeasuredAdvice]:
    if not rows.words:
        return []
    source = f"its columns {in_quotes(rows.inputs)} and {in_quotes(rows.target)}"
    return [MeasuredAdvice(f"{rows.train.name} holds words with a tag each", source)]


def _missing(rows: RowsFile) -> list[str]:
    if rows.validation is not None:
        return []
    return [
        "There are no validation rows: name some as `validation` in `data`, so that scores can be seen,",
        "`freezeplan probe` can say where to cut and `freezeplan compare` can try what works best.",
    ]


def _commented(advice: Sequence[MeasuredAdvice], values: Mapping[str, Any], more: Sequence[str] = ()) -> str:
    lines = [f"{item.text}. Source: {item.source}." for item in advice] + list(more)
    comment = "".join(f"# {visible(line, keep='')}\n" for line in lines)
    return f"{comment}\n{tomli_w.dumps(values)}"


def spec_of_comparison(found: StrategyComparison, file: Path, folder: Path) -> str:
    """Return the chosen candidate of a comparison as a commented spec, for a file in ``folder``.

    ``file`` is its ``comparison.json``. Raises ``DiagnosticError`` (FP597) for one that is not finished.
    """
    if found.verdict is None:
        advice = "run the same `freezeplan compare` again: it goes on"
        raise DiagnosticError(
            [diagnostic("FP597", f"the comparison in `{file}` is not finished", help=advice)]
        )
    chosen = next(item for item in found.candidates if item.name == found.verdict.chosen)
    values = tomllib.loads(spec_text(load_spec(file.parent / chosen.spec), folder))
    text = "; ".join(
        line for line in verdict_lines(found) if not line.startswith(("*", "not tried", "left out"))
    )
    what = MeasuredAdvice(
        f"{chosen.name}: {chosen.words}. {text}", f"runs on the same rows, in {file.parent}"
    )
    return _commented([what], values)
