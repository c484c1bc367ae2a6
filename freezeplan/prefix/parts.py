"""How entries of a whole backbone lie where heads read pooled vectors or states of words: of each what is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from freezeplan.prefix.entries import Layout, stored_as
from freezeplan.prefix.head_inputs import HeadInputs
from freezeplan.prefix.refusal import Reason, Refused
from freezeplan.prefix.replay import Cut

POOLED, STATES = "pooled", "last_hidden_state"
Parts = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class PartsLayout(Layout):
    """Say how the entries of a whole backbone lie: of each its pooled vector, then the states of its words.

    Only what is ``wanted`` is there. What nobody reads comes back as zeros, as padding does.
    """

    wanted: HeadInputs | None = None

    def packed_parts(self, parts: Parts, entries: Sequence[int]) -> torch.Tensor:
        """Return what a batch of entries put out as rows of the array, one entry after the other.

        Raises :class:`Refused` where there is not a state for each token.
        """
        states, inside = parts[STATES], self._inside(entries)
        if states.shape[:2] != inside.shape:
            raise Refused(Reason.UNEVEN, f"{tuple(states.shape)} for a batch of {tuple(inside.shape)}")
        kept = inside & self._wanted_tokens[self._places(entries)]
        if POOLED in parts:
            states = torch.cat([parts[POOLED].unsqueeze(1), states], dim=1)
            kept = torch.cat([self._pooled[list(entries), None], kept], dim=1)
        return states[kept.to(states.device)].to(self.dtype)

    def rows_of(self, entries: Sequence[int]) -> torch.Tensor:
        """Return the rows of the array that some entries take, one entry after the other."""
        spans = [torch.arange(self.counts[entry]) + self.starts[entry] for entry in entries]
        return torch.cat(spans)

    def pooled_places(self, entries: Sequence[int]) -> torch.Tensor:
        """Return the row of each entry's pooled vector."""
        return self.starts[list(entries)]

    def state_places(self, entries: Sequence[int]) -> torch.Tensor:
        """Return the row of each token's state ``(entries, longest of them)``, that of zeros where there is none."""
        places = self._places(entries)
        kept = self._inside(entries) & self._wanted_tokens[places]
        return torch.where(kept, self._rows_of_tokens[places], self.rows)

    def _inside(self, entries: Sequence[int]) -> torch.Tensor:
        widths = self._widths[list(entries), None]
        return torch.arange(int(widths.max())) < widths

    def _places(self, entries: Sequence[int]) -> torch.Tensor:
        """Return where the tokens of some entries are among those of all; past an entry's end, any place."""
        inside, begins = self._inside(entries), (self._ends - self._widths)[list(entries), None]
        return (begins + torch.arange(inside.shape[1])).clamp(max=len(self._wanted_tokens) - 1)

    @cached_property
    def _wanted_tokens(self) -> torch.Tensor:
        return torch.from_numpy(self.wanted.tokens)

    @cached_property
    def _pooled(self) -> torch.Tensor:
        return torch.from_numpy(self.wanted.pooled)

    @cached_property
    def _ends(self) -> torch.Tensor:
        return torch.from_numpy(self.wanted.ends)

    @cached_property
    def _widths(self) -> torch.Tensor:
        return torch.from_numpy(self.wanted.widths)

    @cached_property
    def _rows_of_tokens(self) -> torch.Tensor:
        """The row of each token of all entries, of those that have one: after the pooled vectors up to its own."""
        before = self._pooled.cumsum(0).repeat_interleave(self._widths)
        return before + self._wanted_tokens.cumsum(0) - 1


def parts_layout(cut: Cut, wanted: HeadInputs, asked: torch.dtype) -> PartsLayout:
    """Return how a cut's entries are stored in the number format that was asked for, or in its own if shorter."""
    counts = tuple(wanted.counts.tolist())
    return PartsLayout(cut.shape[-1:], stored_as(cut, asked), len(counts), lengths=counts, wanted=wanted)
