"""What may be written at a key path: the keys of its table, in the spelling of a spec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic.fields import FieldInfo

from freezeplan.diagnostics.wording import closest, nearest, one_slip_away, quoted
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.optimizer_tables import NamedOptimizer, OptimizerTable
from freezeplan.spec.tables import Spec, Table

# What other tools and torch call the same thing; too far apart for a spelling match.
SYNONYMS = {
    "exclude": "except",
    "decay_mult": "weight_decay_mult",
    "freeze": "state",
    "frozen": "state",
    "learning_rate": "lr",
    "lr_mul": "lr_mult",
    "lr_scale": "lr_mult",
    "modules": "match",
    "parameters": "match",
    "params": "match",
    "parms": "match",
    "pattern": "match",
    "requires_grad": "state",
    "select": "match",
    "trainable": "state",
    "wd": "weight_decay",
    "wd_mult": "weight_decay_mult",
}


WORD_BREAK = re.compile(r"-|(?<=[a-z])(?=[A-Z])")
# Of these the value means the same under either name.
SAME_VALUE = frozenset(["except", "lr", "lr_mult", "match", "weight_decay", "weight_decay_mult"])


def fields_of(table: type[Table]) -> dict[str, FieldInfo]:
    """Return a table's fields under the keys a spec writes (``class``, not ``class_``)."""
    return {field.alias or name: field for name, field in table.model_fields.items()}


def table_at(path: KeyPath) -> type[Table] | None:
    """Return the table that stands at a key path, or None where none does.

    >>> table_at(("rule", 0, "expect")).__name__
    'Expect'
    """
    table: type[Table] | None = Spec
    for part in path:
        if table is not None and isinstance(part, str):
            field = fields_of(table).get(part)
            # Any other key there names an optimizer for some parameters.
            free = NamedOptimizer if table is OptimizerTable else None
            table = _table_in(field.annotation) if field else free
    return table


def suggestion(name: str, parent: KeyPath) -> str | None:
    """Say which key was meant by one that the table at ``parent`` does not have."""
    table = table_at(parent)
    if table is None:
        return None
    known = sorted(fields_of(table))
    wanted = _synonym(name) or name
    homes = _homes(wanted)
    guess = closest(wanted, known)
    hints = [guess] if guess else []
    if homes and wanted not in known:
        hints.append(f"`{wanted}` is a key of {' and of '.join(homes)}")
    return "; ".join(hints) or f"known keys: {quoted(known)}"


def meant_key(name: str, parent: KeyPath) -> str | None:
    """Return the one key that a misspelt one of the table at ``parent`` can mean; None where it is not certain.

    >>> meant_key("optimizr", ()), meant_key("learning_rate", ("rule", 0)), meant_key("freeze", ("rule", 0))
    ('optimizer', 'lr', None)
    """
    table = table_at(parent)
    if table is None:
        return None
    known = fields_of(table)
    other = _synonym(name)
    return other if other in SAME_VALUE and other in known else one_slip_away(name, known)


def misspelt(table: Mapping[str, Any], parent: KeyPath, key: str) -> bool:
    """Whether a table holds a key that it cannot have and that is most like ``key``: that is the problem to report.

    >>> misspelt({"token": "words"}, ("task", 0, "data"), "tokens")
    True
    """
    known = fields_of(Spec if (found := table_at(parent)) is None else found)
    return any(nearest(str(name), known)[:1] == [key] for name in table if name not in known)


def title(parent: KeyPath) -> str:
    """Name the table at a key path the way its header is written."""
    names = [part for part in parent if isinstance(part, str)]
    if not names:
        return "the spec"
    last_is_entry = isinstance(parent[-1], int)
    return f"`[[{'.'.join(names)}]]`" if last_is_entry else f"`[{'.'.join(names)}]`"


def _synonym(name: str) -> str | None:
    """Return our word for another tool's, however that one writes it.

    >>> _synonym("learning-rate"), _synonym("learningRate"), _synonym("rate")
    ('lr', 'lr', None)
    """
    return SYNONYMS.get(WORD_BREAK.sub("_", name).lower())


def _homes(name: str) -> list[str]:
    found = []
    for key in fields_of(Spec):
        table = table_at((key,))
        if table is not None and name in fields_of(table):
            found.append(f"`[[{key}]]`" if key in ("rule", "task", "phase") else f"`[{key}]`")
    return found


def _table_in(annotation: Any) -> type[Table] | None:
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    return next(filter(None, map(_table_in, get_args(annotation))), None)
