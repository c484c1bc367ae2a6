"""Generated module trees: any nesting, ties, shared modules, parameters on modules that have children."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import nn

NAMES = ("module", "layer", "norm", "a", "b", "bias", "weight_g", "base_layer", "_orig_mod", "0", "1")
LEAVES = st.sampled_from(
    [
        lambda: nn.Linear(2, 3),
        lambda: nn.Linear(2, 2, bias=False),
        lambda: nn.LayerNorm(2),
        lambda: nn.Embedding(3, 2),
        lambda: nn.BatchNorm1d(2),
        lambda: nn.ReLU(),
        lambda: nn.ParameterList([torch.zeros(2), torch.zeros(2)]),
        lambda: nn.ParameterDict({"left": torch.zeros(1)}),
        lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)),
    ]
)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> nn.Module:
    """Draw a module tree with at least one parameter; some parameters and modules stand at several places."""
    modules: list[nn.Module] = []
    root = nn.Module()
    root.add_module(draw(st.sampled_from(NAMES)), _module(draw, depth, modules))
    modules.append(root)
    root.register_parameter("own", nn.Parameter(torch.zeros(2)))
    for holder in draw(st.lists(st.sampled_from(modules), max_size=3)):
        tensors = [parameter for _, parameter in root.named_parameters()]
        holder.register_parameter("tied", draw(st.sampled_from(tensors)))
    return root


def _module(draw: st.DrawFn, depth: int, modules: list[nn.Module]) -> nn.Module:
    if depth == 0 or draw(st.booleans()):
        return draw(LEAVES)()
    holder = nn.Module()
    modules.append(holder)
    if draw(st.booleans()):
        holder.register_parameter("scale", nn.Parameter(torch.ones(1)))
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)):
        # Only a finished module is shared, so that none comes to hold itself.
        finished = [item for item in modules if getattr(item, "finished", False)]
        shared = bool(finished) and draw(st.integers(0, 4)) == 0
        child = draw(st.sampled_from(finished)) if shared else _module(draw, depth - 1, modules)
        holder.add_module(name, child)
    holder.finished = True
    return holder
