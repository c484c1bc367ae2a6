"""What takes the values of a column, by what the column holds."""

from __future__ import annotations

from freezeplan.data.columns import ImagesBuilder, LabelsBuilder, TextsBuilder
from freezeplan.data.numbers import NumbersBuilder

BUILDERS = {
    "text": TextsBuilder,
    "image": ImagesBuilder,
    "label": LabelsBuilder,
    "number": NumbersBuilder,
}
WANTED = {"label": "a label is text or a whole number", "number": "every row needs a number"}
"""What the values of a target column have to be, in words, by what it holds."""
