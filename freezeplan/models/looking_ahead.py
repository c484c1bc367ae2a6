"""Whether a language model sees the tokens that it is to tell: tried on the model, or on a small copy of it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from freezeplan.diagnostics import DiagnosticError
from freezeplan.models.own_head import own_place, own_tasks
from freezeplan.outside.quiet import quiet
from freezeplan.spec.locations import error_at_key
from freezeplan.spec.tables import Spec

if TYPE_CHECKING:
    from torch import nn

LOOK_AHEAD = 1e-6
SWITCHES = (("is_decoder", True), ("causal", True), ("use_bidirectional_attention", False))
VOCABULARY, MOST_NUMBERS = 8, 100_000_000


def check_order(spec: Spec, backbone: nn.Module) -> None:
    """Refuse a backbone in eval mode (FP183) whose states change with later tokens: it would copy what it learns."""
    if sees_ahead(backbone):
        raise _refusal(spec, backbone)


def check_order_of_config(spec: Spec, chosen: Any, config: Any) -> None:
    """Refuse the same of a config alone, where it may be an encoder's: one random layer of it is tried.

    ``chosen`` is the class that has backbone and head. A copy that cannot be built small says nothing: the model itself
    is tried before it is trained.
    """
    import torch

    if not own_tasks(spec) or _switch(config) is None:
        return
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            backbone = _small_copy(chosen, config)
            ahead = backbone is not None and sees_ahead(backbone)
    except Exception:  # noqa: BLE001 - whatever a model's own code says of a config that was cut down
        return
    if ahead:
        raise _refusal(spec, backbone)


def sees_ahead(backbone: nn.Module) -> bool:
    """Tell whether the states of a backbone in eval mode, from text, change with a token that comes after them."""
    import torch

    rows = torch.tensor([[0, 1, 0, 0], [0, 1, 0, 1]], device=next(backbone.parameters()).device)
    with torch.no_grad():
        states = backbone(input_ids=rows, attention_mask=torch.ones_like(rows)).last_hidden_state
    one, other = states[:, :3]
    # What is masked adds nothing, to the bit: any difference beyond rounding is a look ahead.
    return not torch.allclose(one, other, rtol=0.0, atol=LOOK_AHEAD * float(one.abs().max()))


def _switch(config: Any) -> tuple[str, bool] | None:
    """Return the key of a config, and its other value, that stands at encoder; None where there is no choice."""
    return next((item for item in SWITCHES if getattr(config, item[0], None) is (not item[1])), None)


def _small_copy(chosen: Any, config: Any) -> nn.Module | None:
    """Return a backbone of one layer and few tokens in eval mode; None where even that is large."""
    import torch

    from freezeplan.models.native import build_stock

    small = copy.deepcopy(config)
    small.num_hidden_layers, small.vocab_size = 1, VOCABULARY
    small.pad_token_id = min(small.pad_token_id or 0, VOCABULARY - 1)
    if getattr(small, "layer_types", None):
        small.layer_types = small.layer_types[:1]
    with torch.device("meta"):
        numbers = sum(tensor.numel() for tensor in build_stock(chosen, small).parameters())
    return None if numbers > MOST_NUMBERS else build_stock(chosen, small).base_model.float().eval()


def _refusal(spec: Spec, backbone: Any) -> DiagnosticError:
    message = f"`{type(backbone).__name__}` sees the tokens that come after the one it is to tell"
    advice = "name a decoder as `source`"
    switch = _switch(backbone.config)
    if switch is not None:
        advice += f"; of a model that can be one, set `{switch[0]} = {str(switch[1]).lower()}` in its config"
    return error_at_key(own_place(spec), "FP183", message, help=advice)
