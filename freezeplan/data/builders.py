"""What takes the values of a column, by what the column holds."""

from __future__ import annotations

from functools import partial

from freezeplan.data.columns import ImagesBuilder, LabelsBuilder, TextsBuilder
from freezeplan.data.conversations import ConversationsBuilder
from freezeplan.data.label_lists import FlagsBuilder, LabelListsBuilder, TagListsBuilder
from freezeplan.data.numbers import NumbersBuilder
from freezeplan.data.words import WordListsBuilder

BUILDERS = {
    "text": TextsBuilder,
    "image": ImagesBuilder,
    "label": LabelsBuilder,
    "labels": LabelListsBuilder,
    "flag": FlagsBuilder,
    "number": NumbersBuilder,
    "tokens": WordListsBuilder,
    "tags": TagListsBuilder,
    "messages": ConversationsBuilder,
    "asked": partial(ConversationsBuilder, asked=True),
}
WANTED = {
    "label": "a label is text or a whole number",
    "labels": "every row needs a list of labels, each of them once; an empty list where it has none",
    "flag": "every row needs a 0 or a 1",
    "number": "every row needs a number",
    "tags": "every row needs a list of tags, one for each word",
}
"""What the values of a target column have to be, in words, by what it holds."""
