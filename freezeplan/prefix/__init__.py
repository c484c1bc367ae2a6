"""The frozen prefix of a model, run once per input and stored: the mechanism, for a training loop to adopt.

Find the cut of a phase, compute what lies below it, and start every forward from there::

    try:
        cut = find_cut(model, inventory.stacks, encoder.batch(texts, rows[:4], device))
        store = PrefixStore(model, {"train/topic": texts}, make_batch, StoreSettings(budget=parse_bytes("2GiB")))
        store.prepare([cut, *cuts_of_later_phases], batch_size=64)
    except Refused as refusal:
        log(refusal.statement)                                  # no store: blocks are shared (one runs 4 times)

    with store.replaying(cut, "train/topic", rows):             # rows of that set, as in the batch
        logits = model(task="topic", **batch)
    with prefix_in_eval_mode(model, cut):                       # the same numbers without a store
        logits = model(task="topic", **batch)

``cut.prefix.statement`` is the line for the log (``stored prefix k=4 of 6``). Where ``cut.whole``, the pooled vectors
and the states of words are stored, forwards need no inputs, and ``batch`` may be empty. At each new phase, after
``apply_freeze``, call :func:`find_cut` and :meth:`PrefixStore.prepare` again: it keeps entries that were made from the
present weights, drops those of boundaries that no coming phase names, and computes what is missing. Cuts of later
phases come from ``find_cut(..., trainable=plan.names(phase, trainable=True))``.

A replay equals :func:`prefix_in_eval_mode` bit for bit where the batch is the one that was recorded; among other
batch mates, where a mask of ones makes transformers take another attention kernel, outputs differ by rounding
(1e-5 in 32 bits). Models are changed only within ``with`` blocks, and put back on any error.
"""

from freezeplan.prefix.cut import find_cut
from freezeplan.prefix.refusal import Reason, Refused
from freezeplan.prefix.replay import Cut, prefix_in_eval_mode
from freezeplan.prefix.store import PrefixStore, Prepared, StoreSettings
from freezeplan.spec.amounts import DEFAULT_BUDGET, parse_bytes

__all__ = [
    "DEFAULT_BUDGET",
    "Cut",
    "Prepared",
    "PrefixStore",
    "Reason",
    "Refused",
    "StoreSettings",
    "find_cut",
    "parse_bytes",
    "prefix_in_eval_mode",
]
