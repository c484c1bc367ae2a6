"""Why a run trains without the frozen-prefix store, in words that the log and the diagnostics print."""

from __future__ import annotations

from enum import StrEnum

from freezeplan.plan.storing import NOTHING_FROZEN, STREAMED, TOO_FEW


class Reason(StrEnum):
    """Name each thing that stands in the way of a store, as it is printed after ``no store:``."""

    NO_STACK = "the model has no stack of layers"
    SEVERAL_STACKS = "several stacks of layers run"
    PARALLEL = "a layer is several modules"
    SHARED = "blocks are shared"
    BYPASSED = "blocks bypass __call__"
    OUT_OF_ORDER = "blocks run out of order"
    NOTHING_FROZEN = NOTHING_FROZEN
    KEPT_IN_TRAINING = "frozen modules are kept in training mode"
    OWN_HOOKS = "there are hooks of your own on the blocks"
    PATCHED = "blocks have a forward of their own"
    MUTATES_INPUTS = "the model mutates its inputs"
    MUTATES_STATE = "the frozen part changes its own tensors"
    RANDOM = "the frozen part is random in eval mode"
    NO_HIDDEN_STATES = "blocks return no hidden states"
    NOT_PER_EXAMPLE = "hidden states are not one per example"
    UNWATCHED = "the model does not run under observation"
    HIDDEN_PATH = "replay differs from the model's own forward"
    UNEVEN = "hidden states vary in size"
    PADDING = "padding changes the results"
    NOT_FINITE = "hidden states are not finite in the store's number format"
    TOO_FEW = TOO_FEW
    STREAMED = STREAMED
    BUDGET = "the budget is too small"
    DISK = "the store cannot be written"
    DATA_CHANGED = "the data changed under the store"
    ELSEWHERE = "another process refuses it"
    STORE_CHANGED = "the store's file was altered"


class Refused(Exception):
    """Say that the store cannot be used: ``reason`` names why, ``detail`` what exactly was found."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason} ({detail})" if detail else str(reason))

    @property
    def statement(self) -> str:
        """The line of the log.

        >>> Refused(Reason.SHARED, "`layer.0` runs 4 times").statement
        'no store: blocks are shared (`layer.0` runs 4 times)'
        """
        return f"no store: {self}"
