"""The tables of a spec about optimizers: the one for all tensors, and those for some of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from freezeplan.spec.table import NoDecay, NonNegative, Positive, Strings, Table
from freezeplan.spec.validators import check_betas, check_class


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


class ChosenClass(OptimizerOptions):
    """Choose a class from elsewhere, and what its constructor is given."""

    class_: Annotated[str, BeforeValidator(check_class)] | None = Field(default=None, alias="class")
    """An optimizer from elsewhere, as `MODULE:CLASS` (`lion_pytorch:Lion`), in place of `name`. The module is \
imported, which runs its code, when the optimizer is built: not in `check` or `show`."""
    options: dict[str, Any] = {}
    """Further arguments of the optimizer's constructor, the same for all of its parameters."""


class NamedOptimizer(ChosenClass):
    """Give some parameters an optimizer of their own; `[optimizer]` has all others.

    The table's key is its name. Rules, phases, schedules and `no_decay` hold for its parameters as for all.
    """

    match: Strings
    """One pattern, or a list of which the union is taken: the parameters that this optimizer has."""
    except_: Strings | None = Field(default=None, alias="except")
    """Patterns taken away from the match; each must hit it."""
    name: str | None = None
    """Any optimizer of torch.optim, in lower case or as spelt there."""
    lr: Positive | None = None
    """Base learning rate here. Default: that of `[optimizer]`."""
    weight_decay: NonNegative | None = None
    """Weight decay that no rule and no mask changes. Default: that of `[optimizer]`."""


class OptimizerTable(ChosenClass):
    """Choose the optimizer and the values that rules start from.

    A table inside it, `[optimizer.NAME]`, gives some parameters an optimizer of their own.
    """

    # Any key that is not listed below names such a table.
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, NamedOptimizer]

    name: str = "adamw"
    """Any optimizer of torch.optim that takes parameter groups, in lower case or as spelt there."""
    lr: Positive = 2e-5
    """Base learning rate; rules multiply it."""
    weight_decay: NonNegative = 0.01
    """Weight decay of every parameter that no rule and no mask changes."""
    no_decay: NoDecay = ["@bias", "@norm"]
    """Patterns of parameters that get weight decay 0, or the name of a published rule that says which do; \
a mask applied after all rules."""

    @property
    def named(self) -> dict[str, NamedOptimizer]:
        """The optimizers for some parameters, by name, in the order of the spec."""
        return dict(self.__pydantic_extra__ or {})
