"""Columns of conversations: lists of messages, each with who says it and what."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import numpy

from freezeplan.data.columns import Column, Texts
from freezeplan.data.findings import Flaws
from freezeplan.data.spool import Spool
from freezeplan.data.values import kind_of_value, text_problem
from freezeplan.tasks.flaws import Flaw

ASSISTANT = "assistant"


class Conversations(Texts):
    """Hold conversations, read like a sequence of lists of messages."""

    def _value(self, row: int) -> Any:
        return json.loads(self._bytes(row) or b"[]")


class ConversationsBuilder:
    """Take the values of a column of conversations, one row after the other.

    Where they are ``asked``, the assistant need not have said anything.
    """

    def __init__(self, asked: bool = False) -> None:
        self.asked = asked
        self.flaws = Flaws()
        self._data, self._ends = Spool(), array("q")

    def add(self, value: Any, folder: Path | None = None) -> None:
        """Add the value of the next row; one that is no conversation to learn from is noted as a flaw."""
        messages = messages_in(value)
        flaw = conversation_flaw(messages) or (None if self.asked else _unanswered(messages))
        if flaw is None:
            self._data.append(json.dumps(messages).encode("ascii"))
        else:
            self.flaws.add(len(self._ends) + 1, flaw)
        self._ends.append(self._data.size)

    def done(self) -> Column:
        """Return the column."""
        ends = numpy.frombuffer(self._ends, dtype=numpy.int64)
        return Column(Conversations(self._data.array(numpy.uint8), ends), self.flaws)


def messages_in(value: Any) -> Any:
    """Return a row's messages without the keys that hold nothing; a table of texts (CSV) has them as JSON.

    >>> messages_in('[{"role": "user", "content": "Hi", "name": null}]')
    [{'role': 'user', 'content': 'Hi'}]
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return value
    return [{key: part for key, part in item.items() if part is not None} for item in value]


def conversation_flaw(value: Any) -> Flaw | None:
    """Say what is wrong with a value that should be a list of messages.

    >>> conversation_flaw([{"role": "user", "content": "Hi"}]), conversation_flaw([{"role": "user"}]).what
    (None, 'a message without `content`')
    """
    if value is None:
        return Flaw("null (no list)")
    if not isinstance(value, list):
        return Flaw("text" if isinstance(value, str) else kind_of_value(value))
    if not value:
        return Flaw("an empty list")
    return next((flaw for message in value if (flaw := _message_flaw(message)) is not None), None)


def _message_flaw(message: Any) -> Flaw | None:
    if not isinstance(message, dict):
        return Flaw(f"a list with {'text' if isinstance(message, str) else kind_of_value(message)}")
    for key in ("role", "content"):
        if message.get(key) is None:
            return Flaw(f"a message without `{key}`")
        problem = text_problem(message[key])
        if problem is not None:
            return Flaw(f"a message whose `{key}` is {problem}")
    return None


def _unanswered(messages: list[dict[str, Any]]) -> Flaw | None:
    if any(message["role"] == ASSISTANT for message in messages):
        return None
    return Flaw("a conversation in which the assistant says nothing")
