"""What a Trainer still does where the plan is over: a step that must change nothing."""

from __future__ import annotations

import logging

import torch
from transformers import TrainerControl, TrainerState

from freezeplan.apply.freezing import apply_freeze, set_modes
from freezeplan.apply.pinning import pin_eval_mode, unpin_eval_mode
from freezeplan.plan.records import Phase, Plan

LOG = logging.getLogger("freezeplan")


class RestAtTheEnd:
    """Let a Trainer that resumes behind the end of its plan stop without a change.

    A Trainer asks whether it is to stop only after a step, so it takes one more where an epoch is not at its end.
    That step runs in eval mode, which moves no buffer and draws no random number, and updates with no gradients,
    which moves no weight and no state.
    """

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, plan: Plan) -> None:
        self.model = model
        self.optimizer = optimizer
        self.plan = plan
        self.steps = 0
        self._phase: Phase | None = None

    @property
    def active(self) -> bool:
        """Whether the plan was over when the training began."""
        return self._phase is not None

    def begin(self, phase: int | None, state: TrainerState) -> None:
        """Begin a training: behind the last step of a phase, or with None where steps are left."""
        self.steps, self._phase = 0, None
        if phase is not None:
            self._phase = self.plan.phases[phase]
            apply_freeze(self.model, self.plan, phase)
            LOG.warning("the plan is over after %d steps: nothing is trained", state.global_step)

    def still(self, phase: int | None, state: TrainerState) -> None:
        """Hold everything in eval mode for the step that comes."""
        if not self.active:
            self.begin(phase, state)
        for module in self.model.modules():
            unpin_eval_mode(module)
            pin_eval_mode(module)

    def drop_gradients(self) -> None:
        """Leave the optimizer nothing to do."""
        self.optimizer.zero_grad(set_to_none=True)

    def end(self, control: TrainerControl) -> None:
        """Stop after the step, and let nothing be logged, evaluated or saved for it."""
        assert self._phase is not None
        self.steps += 1
        set_modes(self.model, self._phase)
        control.should_training_stop = True
        self.quiet(control)

    def quiet(self, control: TrainerControl) -> None:
        """Take back what other callbacks have asked for."""
        control.should_log = control.should_evaluate = control.should_save = False

    def take_back(self, state: TrainerState) -> None:
        """Count the step that changed nothing out of the Trainer's."""
        state.global_step -= self.steps
        self.steps = 0
