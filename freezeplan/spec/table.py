"""What every table of a spec has in common: strictness, and the types of its values."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    WrapValidator,
)

from freezeplan.spec.validators import (
    NO_DECAY_RULES,
    SCORE,
    TASK_NAME,
    as_it_is,
    as_list,
    as_weights,
    check_budget,
    check_metric,
    check_no_decay,
    check_phase_name,
    check_warmup,
    one_or_list,
)
from freezeplan.tasks import metric_names

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
# Files of a split, written back the way most specs write them: one as a string.
Files = Annotated[Strings, PlainSerializer(one_or_list)]
Columns = Annotated[Strings, PlainSerializer(one_or_list)]
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
Fraction = Annotated[float, Field(gt=0, lt=1)]
Ratio = Annotated[float, Field(ge=1)]
PhaseName = Annotated[str, BeforeValidator(check_phase_name)]
Balancing = Literal["aligned_mtl", "dualproj", "imtl_g", "mgda", "pcgrad", "upgrad"]
ScheduleName = Literal[
    "constant",
    "constant_with_warmup",
    "cosine",
    "cosine_with_restarts",
    "inverse_sqrt",
    "linear",
    "polynomial",
    "slanted_triangular",
]
Tracker = Literal["mlflow", "tensorboard", "wandb"]
Metric = Annotated[
    str,
    BeforeValidator(check_metric),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": rf"^({SCORE}|{TASK_NAME.pattern}/({'|'.join(metric_names())}))$",
            "examples": [*(f"task/{name}" for name in metric_names()), SCORE],
        }
    ),
]
Weights = Annotated[
    dict[str, float],
    BeforeValidator(as_weights),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {"type": "object", "additionalProperties": {"type": "number"}, "minProperties": 1},
            ]
        }
    ),
]
Budget = Annotated[
    str, BeforeValidator(check_budget), WithJsonSchema({"type": "string", "examples": ["500MB", "2GiB"]})
]
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
