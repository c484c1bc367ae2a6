"""Single values of a data file: which can be a text, which can be a label, and what the others are."""

from __future__ import annotations

from typing import Any

from freezeplan.tasks.flaws import Flaw


def text_problem(value: Any) -> str | None:
    """Say what a value is when it is not a text to classify; None when it is one.

    >>> text_problem("hello"), text_problem(" "), text_problem(3), text_problem(None)
    (None, 'blank text', 'a number', 'null (no text)')
    """
    if isinstance(value, str):
        return _unusable(value) if value and not value.isspace() else "blank text"
    return "null (no text)" if value is None else kind_of_value(value)


def text_flaw(value: Any) -> Flaw | None:
    """Return what :func:`text_problem` says as a flaw."""
    what = text_problem(value)
    return None if what is None else Flaw(what)


def label_problem(value: Any) -> str | None:
    """Say what a value is when it cannot be a label; None when it can.

    >>> label_problem("spam"), label_problem(1), label_problem(True), label_problem(1.5)
    (None, None, 'true or false', 'a number with a decimal point')
    """
    if isinstance(value, str):
        return _unusable(value) if value and not value.isspace() else "no label (blank)"
    if isinstance(value, int) and not isinstance(value, bool):
        return None
    if isinstance(value, float):
        return "a number with a decimal point"
    return "null (no label)" if value is None else kind_of_value(value)


def _unusable(text: str) -> str | None:
    # JSON can spell half of a surrogate pair; no tokenizer and no file can hold it.
    if text.isascii():
        return None
    broken = any("\ud800" <= char <= "\udfff" for char in text)
    return "half of a surrogate pair (broken Unicode)" if broken else None


def kind_of_value(value: Any) -> str:
    """Name the kind of a value in plain words."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "an object" if isinstance(value, dict) else f"a value of type {type(value).__name__}"
