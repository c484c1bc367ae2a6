"""Texts that are found by the words they have in common: what vectors of a network are held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from freezeplan.tasks.retrieval import Retrieval


class WordRetrieval(Retrieval):
    """Rank texts by the cosines of rows of a sparse table, each of length 1 (or 0), which is never made dense."""

    def __init__(self, rows: Any) -> None:
        super().__init__(temperature=1.0)
        self.rows = rows

    def note(self, texts: Sequence[Sequence[int]]) -> None:
        """Count pairs and triplets, as the numbers of their texts' rows."""
        for anchor, *others in texts:
            self.pairs.add((anchor, others[0]))
            self.candidates.update(others)

    def _table(self, texts: Sequence[int]) -> Any:
        return self.rows[list(texts)]

    def _cosines(self, block: Any, table: Any) -> numpy.ndarray:
        return (block @ table.T).toarray()
