"""The tables of a task: what it predicts, and where its rows are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from freezeplan.spec.table import Columns, Count, Files, Positive, Share, Table
from freezeplan.spec.validators import check_task_name
from freezeplan.tasks import TASK_KINDS

MOST_STEPS = 10_000_000


class DataTable(Table):
    """Say where a task's rows are and what their columns are called."""

    train: Files | None = None
    """Files (JSONL, CSV, TSV, Parquet, CoNLL, each also as `.gz`; patterns; folders) relative to the spec, or the \
names of splits when `hub` is set."""
    validation: Files | None = None
    """The same for validation, evaluated after each epoch."""
    test: Files | None = None
    """The same for the final test."""
    text: str = "text"
    """Column that holds the text."""
    text_pair: str | None = None
    """Column that holds a second text; the model reads both together, as its tokenizer joins them. \
Tasks that compare texts (`similarity`, `embedding`) read each by itself."""
    text_negative: str | None = None
    """Column that holds a third text, for tasks of kind `embedding`: one that the first must not be close to."""
    image: str | None = None
    """Column that holds the image, in place of `text`: a path relative to the data file, an encoded image, \
or numbers from 0 to 255 (height x width, or height x width x channels)."""
    tokens: str | None = None
    """Column that holds a list of words, in place of `text`, for tasks of kind `token_classification`; `tokens` is \
the first column of a CoNLL file, and FORM of CoNLL-U."""
    tags: str | None = None
    """Column that holds a tag for each of these words. Default: `tags`, which is the last column of a CoNLL file, and \
UPOS of CoNLL-U; other columns of these are `"2"` or `"XPOS"`."""
    prompt: str | None = None
    """Column that holds a prompt, in place of `text`, for tasks of kind `causal_lm`, which learn the completion."""
    completion: str | None = None
    """Column that holds what follows the prompt. Default: `completion`."""
    messages: str | None = None
    """Column that holds a list of messages (`role`, `content`), in place of `text`, for tasks of kind `causal_lm`, \
which learn what the assistant says."""
    label: Columns = ["label"]
    """Column that holds the label (`multi_label`: a list of labels; `regression`: a number), or several columns \
(`multi_label`: a 0 or a 1 in each; `regression`: a number in each)."""
    hub: str | None = None
    """Name of a dataset on the hub; `train`, `validation` and `test` then name its splits."""
    subset: str | None = None
    """Configuration of the hub dataset."""
    stream: bool = False
    """Read the training rows as they are needed, again in every epoch, in place of keeping all of them in memory; \
`labels` must be listed then."""
    steps_per_epoch: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = None
    """Of streamed rows: the optimizer steps that count as one pass over the task."""
    shuffle_buffer: Count | None = None
    """Of streamed rows: how many are held at a time, and shuffled among themselves. Default: 10000."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that hold what is to be learned."""
        return tuple(self.label) if self.tokens is None else (self.tags or "tags",)

    @property
    def target_key(self) -> str:
        """The key that names them."""
        return "label" if self.tokens is None else "tags"

    @property
    def kind(self) -> str:
        """What the rows hold for the model to read, by the name of a kind of input."""
        for name in ("image", "tokens", "messages", "prompt"):
            if getattr(self, name) is not None:
                return name
        return ("text", "text_pair", "text_triplet")[len(self.inputs) - 1]

    @property
    def inputs(self) -> dict[str, str]:
        """The columns that hold it, by the keys that name them."""
        if self.image is not None:
            return {"image": self.image}
        if self.tokens is not None:
            return {"tokens": self.tokens}
        if self.messages is not None:
            return {"messages": self.messages}
        if self.prompt is not None:
            return {"prompt": self.prompt, "completion": self.completion or "completion"}
        others = {"text_pair": self.text_pair, "text_negative": self.text_negative}
        return {"text": self.text} | {key: name for key, name in others.items() if name is not None}


class Task(Table):
    """Describe one task: its head, its data, its labels."""

    name: Annotated[str, BeforeValidator(check_task_name)]
    """Name of the head: its parameters are `heads.<name>.…`."""
    kind: Literal[
        "causal_lm",
        "classification",
        "embedding",
        "multi_label",
        "regression",
        "similarity",
        "token_classification",
    ] = "classification"
    """What is learned: one of the labels (`classification`), any number of them (`multi_label`), numbers \
(`regression`), how alike two texts are (`similarity`), vectors in which a text is nearest to its partner \
(`embedding`), a tag for each word (`token_classification`), or the next token (`causal_lm`)."""
    data: DataTable | None = None
    """Where the rows come from; `show` does not need it, `train` does."""
    labels: list[str] | None = None
    """The classes in order; sizes the head without data. Default: the sorted labels of the training data."""
    label_smoothing: Share = 0.0
    """Of a `classification` task: how much of a row's weight is spread over all classes."""
    class_weights: dict[str, Positive] | None = None
    """Of a `classification` task: factors of the losses of rows, by their label; 1 for labels that are not named."""
    max_score: Positive | None = None
    """Of a `similarity` task: the score of two texts that say the same, by which scores are divided. Default: 1."""
    temperature: Positive | None = None
    """Of an `embedding` task: what cosines are divided by; the smaller, the more the nearest negatives count. \
Default: 0.05."""
    matryoshka: list[Count] | None = None
    """Of an `embedding` task: numbers of a vector's first dimensions; the loss is summed over vectors cut to each."""
    head: Literal["linear", "native", "compare"] = "linear"
    """`linear`: one linear layer on the pooled output; `native`: the head that transformers has for this \
architecture and kind of task, so that the result is a stock model; `compare`, of a `similarity` task: a trained \
comparison of both vectors, in place of their cosine, as which it begins. A `causal_lm` task has the model's own."""
    weight: Positive = 1.0
    """Factor of this task's loss."""
    scale: Literal["log_classes"] | None = None
    """`log_classes`: the loss of a task over classes is divided by the natural logarithm of their number too, so that \
a task with many classes does not outweigh the others."""
    batch_size: Count | None = None
    """Rows of this task in a batch. Default: `train.batch_size`."""
    dropout: Share = 0.1
    """Dropout before a linear head; a native one has the dropout that the model's config says."""

    @property
    def own_head(self) -> bool:
        """Whether the task stands on the model's own head."""
        return TASK_KINDS[self.kind].own_head

    @property
    def head_that_learns(self) -> str:
        """The ``head`` that would learn, where that of the task has no tensors; empty where it has some."""
        other = TASK_KINDS[self.kind].trained_head
        return "" if self.head == other else other

    @model_validator(mode="before")
    @classmethod
    def _own_head(cls, values: Any) -> Any:
        """Give a task that stands on the model's own head no other."""
        kind = TASK_KINDS.get(str(values.get("kind"))) if isinstance(values, dict) else None
        return {**values, "head": "native"} if kind and kind.own_head and "head" not in values else values
