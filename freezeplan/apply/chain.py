"""Several optimizers over one model's tensors, to be used as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

State = dict[str, Any]


class OptimizerChain(Optimizer):
    """Step several optimizers, each over its own parameter groups, as one.

    Its groups are theirs, the very same dicts, in the order of ``optimizers``, so that a scheduler, a clipping of
    gradients or a Trainer takes it for a single one; its state is theirs, too, and its ``state_dict`` has the
    form of one optimizer's. A closure is called once, before all of them.

    >>> first, second = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    >>> chain = OptimizerChain([torch.optim.SGD([first], lr=0.1), torch.optim.AdamW([second], lr=0.01)])
    >>> [group["lr"] for group in chain.param_groups]
    [0.1, 0.01]
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self.optimizers = tuple(optimizers)
        self._homes = {
            tensor: optimizer
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for tensor in group["params"]
        }
        super().__init__(list(self._homes), {})

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The groups of all optimizers, in their order."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    @param_groups.setter
    def param_groups(self, groups: Any) -> None:
        """Keep those of the optimizers: torch sets an empty list when it begins."""

    @property
    def state(self) -> ChainedState:  # type: ignore[override]
        """What the optimizers keep of each tensor."""
        return ChainedState(self.optimizers, self._homes)

    @state.setter
    def state(self, state: Any) -> None:
        """Keep those of the optimizers: torch sets an empty one when it begins."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Do nothing for what the optimizers hold; refuse all else: it does not say which of them is to have it."""
        tensors = param_group["params"]
        if not all(tensor in self._homes for tensor in ([tensors] if torch.is_tensor(tensors) else tensors)):
            raise ValueError("add the group to one of the chain's optimizers")

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step with each optimizer; returns what the closure returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def state_dict(self) -> State:
        """Return the state of all in the form of one, tensors numbered through."""
        for before in self._optimizer_state_dict_pre_hooks.values():
            before(self)
        found: State = {"state": {}, "param_groups": []}
        for optimizer in self.optimizers:
            own, first = optimizer.state_dict(), sum(len(group["params"]) for group in found["param_groups"])
            found["state"] |= {number + first: value for number, value in own["state"].items()}
            for group in own["param_groups"]:
                moved = [number + first for number in group["params"]]
                found["param_groups"].append({**group, "params": moved})
        for after in self._optimizer_state_dict_post_hooks.values():
            found = after(self, found) or found
        return found

    def load_state_dict(self, state_dict: State) -> None:
        """Give each optimizer its part of what :meth:`state_dict` returned."""
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        groups = list(state_dict["param_groups"])
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        for optimizer in self.optimizers:
            own, groups = groups[: len(optimizer.param_groups)], groups[len(optimizer.param_groups) :]
            optimizer.load_state_dict(_part(state_dict, own))
        for after in self._optimizer_load_state_dict_post_hooks.values():
            after(self)


class ChainedState(MutableMapping[torch.Tensor, State]):
    """The states of several optimizers as one mapping: each tensor's lies with the optimizer that holds it."""

    def __init__(self, optimizers: Sequence[Optimizer], homes: dict[torch.Tensor, Optimizer]) -> None:
        self._optimizers = optimizers
        self._homes = homes

    def __getitem__(self, tensor: torch.Tensor) -> State:
        state = self._homes[tensor].state
        if tensor not in state:
            raise KeyError(tensor)
        found: State = state[tensor]
        return found

    def __setitem__(self, tensor: torch.Tensor, value: State) -> None:
        self._homes[tensor].state[tensor] = value

    def __delitem__(self, tensor: torch.Tensor) -> None:
        del self._homes[tensor].state[tensor]

    def __iter__(self) -> Iterator[torch.Tensor]:
        for optimizer in self._optimizers:
            yield from list(optimizer.state)

    def __len__(self) -> int:
        return sum(len(optimizer.state) for optimizer in self._optimizers)


def _part(whole: State, groups: list[dict[str, Any]]) -> State:
    """Return the state of some groups, their tensors numbered from 0."""
    numbers = [number for group in groups for number in group["params"]]
    place = {number: at for at, number in enumerate(numbers)}
    own = [{**group, "params": [place[number] for number in group["params"]]} for group in groups]
    return {
        "state": {place[number]: value for number, value in whole["state"].items() if number in place},
        "param_groups": own,
    }
