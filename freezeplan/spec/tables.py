"""The tables of a spec as strict pydantic models: what may be written, and of which type."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from freezeplan.spec.amounts import DEFAULT_BUDGET
from freezeplan.spec.locations import NOWHERE, Locations
from freezeplan.spec.optimizer_tables import NamedOptimizer, OptimizerOptions, OptimizerTable
from freezeplan.spec.table import (
    Balancing,
    Budget,
    Count,
    Fraction,
    Metric,
    NonNegative,
    PhaseName,
    Positive,
    Ratio,
    ScheduleName,
    Strings,
    Table,
    Tracker,
    Warmup,
    Weights,
)
from freezeplan.spec.task_tables import DataTable, Task
from freezeplan.spec.validators import check_lr_mult, check_version

__all__ = [
    "DataTable",
    "Expect",
    "FreezeWhen",
    "Gradual",
    "LayerDecay",
    "ModelTable",
    "NamedOptimizer",
    "OptimizerOptions",
    "OptimizerTable",
    "PhaseScheduleTable",
    "PhaseTable",
    "Rule",
    "ScheduleTable",
    "Spec",
    "StopWhen",
    "Table",
    "Task",
    "TrainTable",
    "Until",
]


Pooling = Literal["mean", "cls", "last", "max"]


class ModelTable(Table):
    """Say which model the plan is for."""

    source: str | None = None
    """Hub id, local folder, a `.safetensors` file, `package:NAME/SUBDIR`, `timm:NAME`, or the folder of a finished \
run."""
    architecture: str | None = None
    """Model type (`distilbert`) or path of a `config.json`; used when the source's own config is not here."""
    config: dict[str, Any] | None = None
    """A whole model config, `model_type` included; the inline form of `architecture`."""
    class_: str | None = Field(default=None, alias="class")
    """Class of transformers to build, such as `AutoModelForCausalLM`, in a spec without `[[task]]`."""
    pooling: Pooling | None = None
    """How linear heads see a text: mean over its real tokens, the first token, the last real one (the only one \
that has seen the whole text in a decoder), or the largest value of each number over them. Default: as a run or a \
folder of sentence-transformers has it, else mean."""
    revision: str | None = None
    """Branch, tag or commit of a hub source."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Number format the weights are loaded in. Default: float32."""
    frozen_dtype: Literal["bfloat16", "float16"] | None = None
    """Number format that weights rest in which no phase trains; they compute as before, rounded once. Default: that \
of the others."""
    trust_remote_code: bool = False
    """Run code that the source ships, whenever the model is built: in `check` and `show` too."""


class ScheduleTable(Table):
    """Choose how one factor, the same for every group, changes over the steps."""

    name: ScheduleName = "linear"
    """A schedule of transformers, by name, or ULMFiT's `slanted_triangular`."""
    warmup: Warmup = 0
    """An integer is a number of steps, a float a fraction of all steps."""
    cut_frac: Fraction | None = None
    """Fraction of the steps in which `slanted_triangular` rises. Default: 0.1."""
    ratio: Ratio | None = None
    """How much smaller than its peak `slanted_triangular` begins and ends. Default: 32."""


class PhaseScheduleTable(Table):
    """Start a schedule anew in a phase; keys left out are those of `[schedule]`."""

    name: ScheduleName | None = None
    """A schedule by name."""
    warmup: Warmup | None = None
    """An integer is a number of steps, a float a fraction of the phase's steps."""
    cut_frac: Fraction | None = None
    """Fraction of the phase's steps in which `slanted_triangular` rises."""
    ratio: Ratio | None = None
    """How much smaller than its peak `slanted_triangular` begins and ends."""


class Expect(Table):
    """State how much a rule must select; anything else is an error."""

    tensors: Count | None = None
    """Number of parameter tensors."""
    parameters: Count | None = None
    """Number of parameters (elements)."""


class LayerDecay(Table):
    """Multiply learning rates by depth, per stack, after a published formula."""

    formula: Literal["beit", "dinov2", "electra", "geometric", "timm", "ulmfit"]
    """Whose formula: they differ by a power."""
    rate: Positive | None = None
    """Factor from one layer to the next below (`geometric`: from the top of the ladder to its bottom). \
Default: 1/2.6 for `ulmfit`, none for the others."""
    unit: Literal["layers", "stages"] = "layers"
    """What a rung of the ladder is: one layer, or all layers of one stage (ResNet, Swin, ConvNeXt)."""
    min_mult: NonNegative = 0.0
    """No factor is smaller than this."""
    patch_embed_mult: Positive | None = None
    """Further factor on patch embeddings. Default: 0.2 for `dinov2`, 1 for the others."""


class Rule(OptimizerOptions):
    """Select parameters and set one or more of their properties."""

    name: str | None = None
    """Name shown in tables and used by `override`. Default: the patterns."""
    match: Strings
    """One pattern, or a list of which the rule takes the union."""
    except_: Strings | None = Field(default=None, alias="except")
    """Patterns taken away from the match; each must hit it."""
    state: Literal["frozen", "trainable"] | None = None
    """Whether the parameters train."""
    lr_mult: Annotated[float, Field(gt=0), BeforeValidator(check_lr_mult)] | None = None
    """Learning rate as a multiple of the base rate."""
    lr: Annotated[float, Field(gt=0), BeforeValidator(check_lr_mult)] | None = None
    """Absolute learning rate; excludes `lr_mult`."""
    layer_decay: LayerDecay | None = None
    """Factor on the learning rate by depth, counted in the whole stack."""
    weight_decay: NonNegative | None = None
    """Weight decay of these parameters."""
    weight_decay_mult: NonNegative | None = None
    """Weight decay as a multiple of the optimizer's; excludes `weight_decay`."""
    eval_mode: bool | None = None
    """`false` keeps frozen modules in training mode (dropout on, BatchNorm statistics moving)."""
    expect: Expect | None = None
    """How much must be left after `except`."""
    optional: bool = False
    """Allow patterns that select nothing."""
    override: Strings | None = None
    """Names of earlier rules, or `no_decay`, that this rule may overrule where they merely overlap."""


class Until(Table):
    """End a phase when a validation metric says so."""

    metric: str
    """`task/accuracy`, `task/macro_f1`, `task/loss` …, measured on the task's validation data; or `score`, that of \
`[train]`; or, with `mode`, what another trainer reports, by its name there."""
    mode: Literal["max", "min"] | None = None
    """Which values are better of a metric that another trainer reports (`eval_spearman`): larger or smaller ones. \
One of a task has its own."""
    target: float | None = None
    """The phase ends once the metric is at least this (a loss, or `mode = "min"`: at most)."""
    patience: Count | None = None
    """The phase ends after this many epochs in a row without a better value."""
    max_epochs: Count
    """The phase ends after this many epochs at the latest; its schedule is laid out over them."""
    restore_best: bool = False
    """Bring back weights and optimizer state of the epoch in which the metric was best."""


class PhaseTable(Table):
    """Change, for a part of the run, what the rules before it said."""

    name: PhaseName | None = None
    """Name shown in tables and used by `--phase`. Default: `phase 1`, `phase 2` …"""
    epochs: Count | None = None
    """Length in epochs: passes over the longest task, or over all tasks, by `train.mixing`."""
    steps: Count | None = None
    """Length in optimizer steps."""
    until: Until | None = None
    """Length by a metric."""
    rule: list[Rule] = []
    """Rules of this phase; what they do not name stays as the phase before left it."""
    schedule: PhaseScheduleTable | None = None
    """Start a schedule of its own; without it the phase carries on the schedule of the phase before."""
    on_thaw: Literal["keep", "reset"] = "reset"
    """What a tensor that trained before, was frozen and trains again does with its optimizer state."""


class Gradual(Table):
    """Thaw a stack of layers step by step; stands for the phases that `freezeplan show` prints."""

    over: Strings = ["@layers"]
    """The stacks to thaw: `@layers` or `@stages`, each with the path of its stack in front where there are \
several. They thaw in step; shorter ones finish first."""
    direction: Literal["top_down", "bottom_up"] = "top_down"
    """Which end thaws first."""
    per_phase: Count = 1
    """Layers (or stages) of each stack that each phase thaws."""
    epochs: Count | None = None
    """Length of each phase in epochs."""
    steps: Count | None = None
    """Length of each phase in optimizer steps."""
    until: Until | None = None
    """Length of each phase by a metric."""
    start: bool = True
    """Begin with a phase in which nothing is thawed yet: only what the rules train."""
    then: Strings | None = None
    """Patterns that thaw after the layers, one phase each."""
    last_epochs: Count | None = None
    """Length of the last phase in epochs, when it differs."""
    schedule: PhaseScheduleTable | None = None
    """Start this schedule anew in each phase; without it one schedule runs through all of them."""


class FreezeWhen(Table):
    """Freeze layers from the bottom once they hardly change; stands for the phases that `freezeplan show` prints."""

    rule: Literal["autofreeze", "egeria"] = "egeria"
    """Whose rule says so, after each epoch, from the bottom up. `egeria`: layers freeze whose outputs change little, \
beside how much they did before (`tolerance`). `autofreeze`: the norm of whose gradients changes less than that of \
most layers (`percentile`)."""
    over: Strings = ["@layers"]
    """The stack to freeze, from the bottom; what feeds it freezes with its first layer."""
    per_phase: Count = 1
    """Layers (or stages) that freeze together."""
    keep: Count | None = None
    """Layers (or stages) at the top that never freeze. Default: half of them."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of `egeria`: layers freeze whose outputs changed in each interval of an epoch by at most this share of the most \
that they have changed in one. Default: 0.2."""
    percentile: Annotated[float, Field(gt=0, lt=100)] | None = None
    """Of `autofreeze`: layers freeze whose change is below this percentile of the changes of all layers that train. \
Default: 50."""
    intervals: Annotated[int, Field(ge=2)] | None = None
    """Equal parts of an epoch, each of which is compared with the one before it: what layers put out at its end, or \
the gradients of its steps. Default: 2 of `egeria`, 4 of `autofreeze`."""


class StopWhen(Table):
    """End the run, and thaw no more, once a validation metric is good enough."""

    metric: Metric
    """`task/accuracy`, `task/macro_f1` …, measured on the task's validation data; or `score`, that of `[train]`."""
    at_least: float
    """The run ends after the epoch in which the metric is at least this."""


class TrainTable(Table):
    """Set the length and shape of the training run."""

    epochs: Count = 3
    """Passes over the longest task, which shorter ones repeat (`alternate`, `joint`), or over all tasks \
(`proportional`, `temperature`). Phases have lengths of their own."""
    batch_size: Count = 32
    """Examples of one task in one step (before accumulation); a task may have its own."""
    eval_batch_size: Count = 128
    """Most examples per batch in evaluation and prediction; a CPU takes 32 at most."""
    mixing: Literal["alternate", "joint", "proportional", "temperature"] = "alternate"
    """`alternate`: one task per step, in turn; `joint`: one batch of each task per step, losses summed; \
`proportional`: one task per step, each as often as its rows take; `temperature`: the same, in proportion to \
rows^(1/`temperature`)."""
    temperature: Ratio | None = None
    """Of `mixing = "temperature"`: 1 is `proportional`, and the larger, the more alike the tasks' shares of rows."""
    balancing: Balancing | None = None
    """How the gradients that tasks give what they share become one, with `mixing = "joint"`, by torchjd. Default: \
their sum."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """What the forward pass computes in, by torch's autocast, in training, evaluation and prediction alike; weights \
stay as `model.dtype` says. `fp16` scales losses, and leaves out steps whose gradients overflow."""
    gradient_checkpointing: bool = False
    """Keep only the inputs of the layers that a gradient reaches, and run each again in the backward pass: less \
memory, more work, the same gradients."""
    strategy: Literal["auto", "single", "replicate", "shard"] = "auto"
    """How several processes share a run: `replicate` gives each the whole model, `shard` a part of every tensor, by \
torch's `fully_shard`; `single` allows one process. `auto`: `replicate` where there are several."""
    accumulation: Count = 1
    """Batches per optimizer step."""
    clip_norm: Positive | None = 1.0
    """Largest norm of the gradient."""
    max_length: Count | None = None
    """Most tokens of a text. Default: what the model takes, at most 512."""
    length_buckets: bool = True
    """Make batches of texts of similar length, so that they hold little padding; every epoch stays one pass."""
    store: Literal["auto", "off", "require"] = "auto"
    """Run the frozen prefix once per input and go on from what is stored: `auto` where it can be done and saves \
work, `off` never, `require` or else stop with an error."""
    store_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Number format of what is stored; a shorter one takes half the space and rounds."""
    store_budget: Budget = DEFAULT_BUDGET
    """Most memory that the store may take; what is beyond goes into files in the run's folder."""
    seed: Annotated[int, Field(ge=0)] = 13
    """Seed of everything random: heads, shuffling, dropout."""
    score: Weights | None = None
    """One number over the metrics of several tasks, larger for better: a list of them, of which it is the mean, or \
a table with their weights. `until`, `stop_when`, `keep_best` and `restore_best` call it `score`."""
    stop_when: StopWhen | None = None
    """End the run early, once a metric is good enough."""
    checkpoint_steps: Count | None = None
    """Write a checkpoint every so many steps too. Default: after each epoch and at the end of each phase."""
    keep_last: Count = 2
    """Checkpoints to keep; older ones are removed."""
    keep_best: Metric | None = None
    """Also keep the checkpoint in which this metric (`task/accuracy` …, or `score`) was best."""
    report_to: list[Tracker] = []
    """Trackers that are told losses, scores, rates, the plan and the evidence, through accelerate's."""
    restore_best: Metric | None = None
    """End with the weights of the epoch in which this metric was best; a phase says so in its `until`."""


class Spec(Table):
    """Hold a whole fine-tuning spec.

    Build one with :func:`freezeplan.load_spec`, from a file or a dict: it gives every problem as a diagnostic
    with a place. The tables are attributes; ``rule``, ``task`` and ``phase`` are lists.
    """

    version: Annotated[Literal[1], BeforeValidator(check_version)] = 1
    """Version of the language."""
    extends: str | None = None
    """A spec this one builds on: a path relative to this file, or `preset:NAME`."""
    requires: dict[str, str] = {}
    """Versions of installed packages that the spec is for, by name: `{ transformers = ">=5.0, <6" }`."""
    model: ModelTable = ModelTable()
    """The model that the plan is for."""
    optimizer: OptimizerTable = OptimizerTable()
    """The optimizer, the base learning rate and the weight decay."""
    schedule: ScheduleTable = ScheduleTable()
    """How the rates of all groups change over the steps."""
    rule: list[Rule] = []
    """What is frozen, what trains and at which rate; later rules refine earlier ones."""
    task: list[Task] = []
    """What is learned, each task by a head of its own on the one backbone."""
    phase: list[PhaseTable] = []
    """Parts of the run with rules of their own, in order."""
    gradual: Gradual | None = None
    """Phases that thaw a stack of layers step by step."""
    freeze_when: FreezeWhen | None = None
    """Phases that freeze a stack of layers from the bottom, as soon as they hardly change."""
    train: TrainTable = TrainTable()
    """Length and shape of the training run."""

    _locations: Locations = PrivateAttr(default_factory=lambda: NOWHERE)

    @property
    def locations(self) -> Locations:
        """Where each key and value stands in the files this spec was read from."""
        return self._locations

    def with_locations(self, locations: Locations) -> Spec:
        """Return a copy that knows where its keys and values stand."""
        copy = self.model_copy()
        copy._locations = locations
        return copy
