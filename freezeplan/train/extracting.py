"""A backbone as it is, as an extractor of features: a pooled vector for each row of data, into a file."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from freezeplan.data.encoder import Encoder
from freezeplan.data.modality import IMAGE, KINDS, TEXT, TEXT_PAIR, Kind
from freezeplan.data.reader import READER
from freezeplan.data.row_counts import set_of
from freezeplan.data.split import Split, TaskData
from freezeplan.data.streamed import not_read_whole
from freezeplan.data.table_files import TableWriter, new_table
from freezeplan.data.target_values import target_of, type_of_targets
from freezeplan.data.task_rows import SPLITS, load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import quoted
from freezeplan.models.build import with_heads
from freezeplan.models.loading import load_model
from freezeplan.models.resolve import resolve_source
from freezeplan.models.run_record import home_of
from freezeplan.prefix.examples import in_chunks, rows_at_once
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.tasks import TASK_KINDS
from freezeplan.train.encoded_rows import encode_split, encoder_for, problems_of
from freezeplan.train.failures import explained
from freezeplan.train.forward import EncodedSplit
from freezeplan.train.launching import chosen_device
from freezeplan.train.predict import check_flaws, inputs_in, ready
from freezeplan.train.unlabelled import WINDOW

if TYPE_CHECKING:
    import pyarrow

VECTOR = "vector"
VECTORS = (VECTOR, f"{VECTOR}_pair", f"{VECTOR}_negative")
ONE_VECTOR = TASK_KINDS["classification"]
"""A kind whose rows are read as one text, or one pair, each."""
Told = Callable[[int], None]


@dataclass(frozen=True)
class FeatureFile:
    """Name a data file whose rows are extracted in place of the spec's, and the columns that hold what is read."""

    path: Path
    column: str | None = None
    pair_column: str | None = None


@dataclass(frozen=True)
class Extracted:
    """Count the rows that were written, and the numbers of a vector; ``diagnostics`` are about the data."""

    rows: int
    width: int
    diagnostics: tuple[Diagnostic, ...]


def extract(
    source: Path,
    out: Path,
    file: FeatureFile | None = None,
    *,
    layer: int | None = None,
    overwrite: bool = False,
    told: Told = lambda rows: None,
) -> Extracted:
    """Write the pooled vectors of the rows of a run's or a spec's data, or of a file, into a Parquet file.

    ``source`` is the folder of a run (or of a checkpoint), whose backbone is the trained one, or a spec, whose backbone
    is that of its source. The model runs in eval mode, as it is; ``layer`` pools the states after that layer (0: the
    embeddings) instead of the last ones. Of the spec's data there is a row for each row of each split, once for
    all tasks that read the same columns of the same files: ``split``, ``file`` and ``row`` (its number), what each task
    is to learn as ``label.TASK`` (null where the row is not the task's), and ``vector``, in float32; of texts that are
    compared a second and a third one, ``vector_pair`` and ``vector_negative``. Of a file there are ``row`` and
    ``vector``. The file is whole or not there: see :func:`freezeplan.data.table_files.new_table`.

    Raises ``DiagnosticError``: FP577 for the file, FP578 where there are no such features, FP520 and FP521 for a run,
    FP530 for a row of ``file``, and what reading a spec, its data and its model raise.
    """
    spec, known, loaded = _opened(source)
    tasks, found = _read(spec, known) if file is None else ((), ())
    with explained():
        backbone = replace(loaded(), layer=layer)
        if file is not None:
            parts: list[_Part] = []
            blocks, width = _of_file(backbone, spec, file), 1
        else:
            parts = _parts(spec, tasks, backbone.encoder)
            blocks, width = _of_parts(backbone, parts, tasks), max((part.texts for part in parts), default=1)
        with new_table(out, overwrite=overwrite, schema=_schema(tasks, width, file)) as table:
            count = _write(table, blocks, told)
    return Extracted(count, backbone.model.hidden, found)


@dataclass(frozen=True)
class _Backbone:
    """Hold a model that pools, what encodes its inputs, and where and how it runs."""

    model: Any
    encoder: Encoder
    device: torch.device
    batch_size: int
    layer: int | None = None

    @torch.no_grad()
    def vectors(self, split: EncodedSplit, rows: Sequence[int]) -> dict[int, torch.Tensor]:
        """Return each row's vectors ``(texts, hidden)`` in float32 on the CPU; rows of like length run together."""
        lengths = split.lengths
        order = list(rows) if lengths is None else sorted(rows, key=lambda row: -int(lengths[row]))
        found: dict[int, torch.Tensor] = {}
        for places in in_chunks(len(order), rows_at_once(self.device.type, self.batch_size)):
            chosen = order[places.start : places.stop]
            batch = self.encoder.batch(split.inputs, split.entries(chosen), self.device)
            out = self._pooled(batch).float().cpu()
            found.update(
                zip(chosen, out.reshape(-1, len(chosen), out.shape[-1]).transpose(0, 1), strict=True)
            )
        return found

    def _pooled(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        found = self.model.vectors(**batch) if self.layer is None else self._at_layer(self.layer, batch)
        if found.isfinite().all():
            return found
        message = "the model gives no numbers for its backbone: its outputs hold NaN or infinity"
        raise DiagnosticError([diagnostic("FP531", message, help="of float16, prefer bfloat16 or float32")])

    def _at_layer(self, layer: int, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        states = self.model.layer_states(**batch)
        if not states:
            message = "the backbone does not give the states of its layers"
            raise DiagnosticError([diagnostic("FP578", message, help="leave `--layer` out")])
        if layer >= len(states):
            message = f"the backbone has no states after layer {layer}"
            raise DiagnosticError([diagnostic("FP578", message, help=f"the last layer is {len(states) - 1}")])
        return self.model.pooled(states[layer], batch)


Known = Mapping[str, tuple[str, ...]]


def _opened(source: Path) -> tuple[Spec, Known, Callable[[], _Backbone]]:
    """Return the spec of a run or a file, the labels that are fixed already, and what loads the backbone."""
    if source.suffix != ".toml":
        run, device = ready(source)
        spec = load_spec(home_of(source)[0] / "spec.toml")
        return spec, run.labels, lambda: _Backbone(run.model, run.encoder, device, run.batch_size)
    spec = load_spec(source)
    place = resolve_source(spec)
    known = {name: task.labels for name, task in place.run.tasks.items()} if place.run else {}
    return spec, known, lambda: _loaded(spec)


def _loaded(spec: Spec) -> _Backbone:
    """Load the backbone of a spec's source, without heads: no rule and no task changes what it puts out."""
    bare = spec.model_copy(update={"task": []})
    backbone, _ = load_model(bare)
    model = with_heads(backbone, resolve_source(bare), bare, {})
    encoder = encoder_for(spec, model.backbone)
    device = chosen_device()
    return _Backbone(model.eval().to(device), encoder, device, spec.train.eval_batch_size)


def _read(spec: Spec, known: Known) -> tuple[tuple[TaskData, ...], tuple[Diagnostic, ...]]:
    tasks, found = load_task_data(spec, known)
    READER.forget()
    streamed = [task.name for task in tasks if task.streamed is not None]
    if streamed:
        advice = "name the files to read, one after the other, with `--data FILE`"
        raise DiagnosticError([diagnostic("FP578", not_read_whole(streamed), help=advice)])
    odd = [task.name for task in tasks if task.kind.own_head and not _are_texts(task)]
    if odd:
        message = f"rows of {quoted(odd)} have no features: they are no texts, but prompts or conversations"
        advice = "name a file of texts with `--data FILE`"
        raise DiagnosticError([diagnostic("FP578", message, help=advice)])
    # Test rows without labels are rows like all others here.
    return tasks, tuple(item for item in found if item.code != "FP487")


def _are_texts(task: TaskData) -> bool:
    return all(split.kind is TEXT for split in (*task.splits.values(), *task.unlabelled.values()))


@dataclass(frozen=True)
class _Part:
    """Hold the rows of one split that some tasks read alike, encoded."""

    name: str
    rows: Split
    encoded: EncodedSplit
    tasks: tuple[str, ...]

    @property
    def texts(self) -> int:
        """The vectors of a row."""
        return self.encoded.kind.texts


def _parts(spec: Spec, tasks: Sequence[TaskData], encoder: Encoder) -> list[_Part]:
    """Return all rows of all tasks, each once; raises ``DiagnosticError`` for those that cannot be used."""
    found: dict[Hashable, _Part] = {}
    problems: list[Diagnostic] = []
    for name in SPLITS:
        for index, task in enumerate(tasks):
            rows = task.splits.get(name) or task.unlabelled.get(name)
            if rows is None:
                continue
            key = (name, set_of(spec, index, name))
            if key in found:
                found[key] = replace(found[key], tasks=(*found[key].tasks, task.name))
                continue
            encoded = (
                encoder.encode(rows.inputs) if task.kind.own_head else encode_split(rows, encoder, task.kind)
            )
            problems += problems_of(rows, encoded)
            found[key] = _Part(name, rows, EncodedSplit(encoded, task.kind, None), (task.name,))
    if problems:
        raise DiagnosticError(problems)
    return list(found.values())


Block = list[dict[str, Any]]


def _of_parts(backbone: _Backbone, parts: Sequence[_Part], tasks: Sequence[TaskData]) -> Iterator[Block]:
    """Yield the rows to write, a window of them at a time."""
    by_name = {task.name: task for task in tasks}
    for part in parts:
        learned = {name: by_name[name] for name in part.tasks}
        for window in in_chunks(len(part.encoded), WINDOW):
            vectors = backbone.vectors(part.encoded, window)
            yield [{**_said(part, learned, row), **_named(vectors[row])} for row in window]


def _said(part: _Part, tasks: Mapping[str, TaskData], row: int) -> dict[str, Any]:
    found: dict[str, Any] = {"split": part.name, "file": part.rows.source, "row": row + 1}
    for name, task in tasks.items():
        if part.name in task.splits:
            found[f"label.{name}"] = target_of(task.splits[part.name].targets, task.labels, row)
    return found


def _of_file(backbone: _Backbone, spec: Spec, file: FeatureFile) -> Iterator[Block]:
    """Yield the rows of a file, a window of them at a time."""
    kind, column, pair = _columns(backbone.encoder, spec, file)
    encoder = replace(backbone.encoder, kind=kind) if kind is not IMAGE else backbone.encoder
    done = 0
    rest = iter(inputs_in(kind, file.path, column, pair))
    while window := list(islice(rest, WINDOW)):
        values = [encoder.located(value) for value in window]
        encoded = encoder.encode(values)
        check_flaws(encoded.flaws, kind, done)
        vectors = backbone.vectors(EncodedSplit(encoded, ONE_VECTOR, None), range(len(values)))
        yield [{"row": done + row + 1, **_named(vectors[row])} for row in range(len(values))]
        done += len(values)


def _columns(encoder: Encoder, spec: Spec, file: FeatureFile) -> tuple[Kind, str | None, str | None]:
    """Return what is read of a file: as the first task reads its data, unless the columns say another thing."""
    if encoder.kind is IMAGE:
        return IMAGE, file.column, None
    if file.pair_column is not None:
        return TEXT_PAIR, file.column, file.pair_column
    data = next((task.data for task in spec.task if task.data is not None), None)
    if data is None or file.column is not None or len(data.inputs) > 1:
        return TEXT, file.column, None
    ((_, column),) = data.inputs.items()
    kind = KINDS[data.kind]
    return (kind, column, None) if len(kind.takes) == 1 else (TEXT, None, None)


def _named(vectors: torch.Tensor) -> dict[str, list[float]]:
    return dict(zip(VECTORS, vectors.tolist(), strict=False))


def _schema(tasks: Sequence[TaskData], vectors: int, file: FeatureFile | None) -> pyarrow.Schema:
    import pyarrow

    fields: list[tuple[str, pyarrow.DataType]] = [("row", pyarrow.int64())]
    if file is None:
        fields = [("split", pyarrow.string()), ("file", pyarrow.string()), *fields]
        for task in tasks:
            splits = list(task.splits.values())
            fields.append((f"label.{task.name}", type_of_targets(splits[0].targets if splits else ())))
    numbers = pyarrow.list_(pyarrow.float32())
    return pyarrow.schema([*fields, *((name, numbers) for name in VECTORS[:vectors])])


def _write(table: TableWriter, blocks: Iterator[Block], told: Told) -> int:
    count = 0
    for block in blocks:
        for row in block:
            table.add(row)
        count += len(block)
        told(count)
    return count
