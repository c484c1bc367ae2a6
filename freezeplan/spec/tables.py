"""The tables of a spec as strict pydantic models: what may be written, and of which type."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    WithJsonSchema,
    WrapValidator,
)

from freezeplan.spec.locations import NOWHERE, Locations
from freezeplan.spec.validators import (
    NO_DECAY_RULES,
    as_it_is,
    as_list,
    check_betas,
    check_lr_mult,
    check_no_decay,
    check_task_name,
    check_version,
    check_warmup,
)

Strings = Annotated[
    list[str],
    BeforeValidator(as_list),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]
# The name of a rule passes as it is; anything else is checked, entry by entry, as a list of patterns.
NoDecay = Annotated[
    list[str],
    WrapValidator(check_no_decay),
    PlainSerializer(as_it_is),
    WithJsonSchema(
        {"anyOf": [{"enum": list(NO_DECAY_RULES)}, {"type": "array", "items": {"type": "string"}}]},
    ),
]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Warmup = Annotated[Any, BeforeValidator(check_warmup), WithJsonSchema({"type": "number", "minimum": 0})]


class Table(BaseModel):
    """Be strict: no unknown keys, no conversions, no inf or nan, no change after reading."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


class ModelTable(Table):
    """Say which model the plan is for."""

    source: str | None = None
    """Hub id, local folder, a `.safetensors` file, `package:NAME/SUBDIR`, or the folder of a finished run."""
    architecture: str | None = None
    """Model type (`distilbert`) or path of a `config.json`; used when the source's own config is not here."""
    config: dict[str, Any] | None = None
    """A whole model config, `model_type` included; the inline form of `architecture`."""
    class_: str | None = Field(default=None, alias="class")
    """Class of transformers to build, such as `AutoModelForCausalLM`, in a spec without `[[task]]`."""
    pooling: Literal["mean", "cls", "last"] = "mean"
    """How the task heads see a text: mean over its real tokens, the first token, or the last real one (the \
only one that has seen the whole text in a decoder)."""
    revision: str | None = None
    """Branch, tag or commit of a hub source."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Number format the weights are loaded in. Default: float32."""
    trust_remote_code: bool = False
    """Run code that the source ships."""


class OptimizerOptions(Table):
    """Options of torch.optim optimizers that may differ between parameter groups."""

    alpha: NonNegative | None = None
    """Smoothing constant (RMSprop) or power of the averaging (ASGD)."""
    amsgrad: bool | None = None
    """Use the AMSGrad variant."""
    beta2_decay: float | None = None
    """Adafactor's decay of the second moment."""
    betas: Annotated[list[NonNegative], BeforeValidator(check_betas)] | None = None
    """Running-average coefficients of Adam-like optimizers."""
    centered: bool | None = None
    """Centre RMSprop's gradient by its variance."""
    d: Positive | None = None
    """Adafactor's clipping threshold."""
    dampening: NonNegative | None = None
    """Dampening of SGD's momentum."""
    decoupled_weight_decay: bool | None = None
    """Decouple weight decay from the gradient in NAdam and RAdam."""
    eps: NonNegative | None = None
    """Term added to the denominator."""
    initial_accumulator_value: NonNegative | None = None
    """Adagrad's starting accumulator."""
    lambd: NonNegative | None = None
    """ASGD's decay term."""
    lr_decay: NonNegative | None = None
    """Adagrad's own decay of the rate."""
    momentum: NonNegative | None = None
    """Momentum factor."""
    momentum_decay: NonNegative | None = None
    """NAdam's momentum decay."""
    nesterov: bool | None = None
    """Use Nesterov momentum."""
    rho: NonNegative | None = None
    """Adadelta's running-average coefficient."""
    t0: NonNegative | None = None
    """Step at which ASGD starts averaging."""


class OptimizerTable(OptimizerOptions):
    """Choose the optimizer and the values that rules start from."""

    name: str = "adamw"
    """Any optimizer of torch.optim that takes parameter groups, in lower case or as spelt there."""
    lr: Positive = 2e-5
    """Base learning rate; rules multiply it."""
    weight_decay: NonNegative = 0.01
    """Weight decay of every parameter that no rule and no mask changes."""
    no_decay: NoDecay = ["@bias", "@norm"]
    """Patterns of parameters that get weight decay 0, or the name of a published rule that says which do; \
a mask applied after all rules."""


class ScheduleTable(Table):
    """Choose how one factor, the same for every group, changes over the steps."""

    name: Literal[
        "constant",
        "constant_with_warmup",
        "cosine",
        "cosine_with_restarts",
        "inverse_sqrt",
        "linear",
        "polynomial",
    ] = "linear"
    """A schedule of transformers, by name."""
    warmup: Warmup = 0
    """An integer is a number of steps, a float a fraction of all steps."""


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
    eval_mode: bool | None = None
    """`false` keeps frozen modules in training mode (dropout on, BatchNorm statistics moving)."""
    expect: Expect | None = None
    """How much must be left after `except`."""
    optional: bool = False
    """Allow patterns that select nothing."""
    override: Strings | None = None
    """Names of earlier rules, or `no_decay`, that this rule may overrule where they merely overlap."""


class DataTable(Table):
    """Say where a task's rows are and what their columns are called."""

    train: str | None = None
    """File (JSONL, CSV, Parquet) relative to the spec, or a split's name when `hub` is set."""
    validation: str | None = None
    """The same for validation, evaluated after each epoch."""
    test: str | None = None
    """The same for the final test."""
    text: str = "text"
    """Column that holds the text."""
    image: str | None = None
    """Column that holds the image, in place of `text`: a path relative to the data file, an encoded image, \
or numbers from 0 to 255 (height x width, or height x width x channels)."""
    label: str = "label"
    """Column that holds the label."""
    hub: str | None = None
    """Name of a dataset on the hub; `train`, `validation` and `test` then name its splits."""
    subset: str | None = None
    """Configuration of the hub dataset."""

    @property
    def kind(self) -> str:
        """What the rows hold for the model to read: ``text`` or ``image``."""
        return "text" if self.image is None else "image"

    @property
    def column(self) -> str:
        """The column that holds it."""
        return self.text if self.image is None else self.image


class Task(Table):
    """Describe one task: its head, its data, its labels."""

    name: Annotated[str, BeforeValidator(check_task_name)]
    """Name of the head: its parameters are `heads.<name>.…`."""
    kind: Literal["classification"] = "classification"
    """What the head predicts."""
    data: DataTable | None = None
    """Where the rows come from; `show` does not need it, `train` does."""
    labels: list[str] | None = None
    """The classes in order; sizes the head without data. Default: the sorted labels of the training data."""
    weight: Positive = 1.0
    """Factor of this task's loss."""
    dropout: Share = 0.1
    """Dropout before the head's linear layer."""


class TrainTable(Table):
    """Set the length and shape of the training run."""

    epochs: Count = 3
    """Passes over the longest task; shorter tasks reshuffle and repeat."""
    batch_size: Count = 32
    """Examples of one task in one step (before accumulation)."""
    eval_batch_size: Count = 128
    """Examples per batch in evaluation and prediction."""
    mixing: Literal["alternate", "joint"] = "alternate"
    """`alternate`: one task per step, in turn; `joint`: one batch of each task per step, losses summed."""
    accumulation: Count = 1
    """Batches per optimizer step."""
    clip_norm: Positive | None = 1.0
    """Largest norm of the gradient."""
    max_length: Count | None = None
    """Most tokens of a text. Default: what the model takes, at most 512."""
    seed: Annotated[int, Field(ge=0)] = 13
    """Seed of everything random: heads, shuffling, dropout."""


class Spec(Table):
    """Hold a whole fine-tuning spec.

    Build one with :func:`freezeplan.load_spec`, or ``Spec.model_validate`` from a dict.
    """

    version: Annotated[Literal[1], BeforeValidator(check_version)] = 1
    """Version of the language."""
    extends: str | None = None
    """A spec this one builds on: a path relative to this file, or `preset:NAME`."""
    model: ModelTable = ModelTable()
    optimizer: OptimizerTable = OptimizerTable()
    schedule: ScheduleTable = ScheduleTable()
    rule: list[Rule] = []
    task: list[Task] = []
    train: TrainTable = TrainTable()

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
