"""Turns texts into the tensors that a backbone takes: tokenised once, padded per batch."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from freezeplan.data.findings import Flaws
from freezeplan.data.modality import TEXT, TEXT_PAIR, TOKENS, Kind
from freezeplan.data.values import text_flaw
from freezeplan.data.words import words_flaw
from freezeplan.diagnostics import DiagnosticError
from freezeplan.diagnostics.wording import counted, first_line
from freezeplan.models.positions import LONGEST, UNLIMITED, most_positions
from freezeplan.spec.tables import Spec
from freezeplan.tasks import task_kind
from freezeplan.tasks.flaws import Flaw
from freezeplan.train.pair_cutting import kept_of_pair
from freezeplan.train.tokens import IDS, MASK, WORDS, EncodedTexts, TokenWriter, joined

CHUNK = 1000
TAB = "\t"
# Of a longer text, only the beginning is tokenised: no tokenizer makes fewer tokens of it than are kept.
CHARACTERS_PER_TOKEN = 64
SHORT = 1 << 16
TWO_WORDS = ("hello", "world")
SPACES = "save the tokenizer with `add_prefix_space=True`, or name another source"
OS_ERROR = re.compile(r"\(os error (\d+)\)")
ANOTHER = "take the rows out, or use a source whose tokenizer has an unknown token"
ENLARGE = "enlarge the model's embedding with `resize_token_embeddings`"
Lists = dict[str, list[list[int]]]
Given = str | tuple[str, str] | list[str]


@dataclass(frozen=True)
class TextEncoder:
    """Tokenise texts for one model, and pad batches of them.

    ``names`` are the inputs that both the tokenizer gives and the backbone takes; ``max_length`` is in
    tokens; ``vocabulary`` counts the rows of the model's embedding, None where it has none of its own. ``apart`` says
    that the texts of a pair or triplet are read by themselves.
    """

    tokenizer: Any
    names: tuple[str, ...]
    max_length: int
    vocabulary: int | None = None
    kind: Kind = TEXT
    apart: bool = False

    def located(self, value: Any) -> Any:
        """Return the text itself.

        Where words are read, that is a list of them, or a text cut at its blanks; where several texts are read, a tuple
        of them, or a line of them with tabs between.
        """
        if self.kind is TOKENS:
            return value.split() if isinstance(value, str) else value
        if not self.kind.several:
            return value
        if isinstance(value, str):
            value = value.split(TAB)
        return tuple(value) if isinstance(value, list) else value

    def flaw(self, value: Any) -> Flaw | None:
        """Say what a value is when it is not a text, or a pair of them where pairs are read.

        Where triplets are read, a pair will do: the third text may be left out.
        """
        if self.kind is TOKENS:
            return words_flaw(value)
        if not self.kind.several:
            return text_flaw(value)
        if not isinstance(value, tuple) or not 2 <= len(value) <= len(self.kind.takes):
            what = "no pair of texts" if self.kind is TEXT_PAIR else "no pair or triplet of texts"
            return Flaw(what, advice="two texts with a tab between them are a pair")
        return next((flaw for text in value if (flaw := text_flaw(text)) is not None), None)

    def encode(self, texts: Sequence[Given]) -> EncodedTexts:
        """Tokenise texts, or pairs of texts, cutting each at ``max_length`` tokens (of a pair the longer text).

        Texts that come out without any token, that the tokenizer refuses, or with a token that the model's
        embedding has no row for, are flaws.
        """
        names = (*self.names, WORDS) if len(texts) and isinstance(texts[0], list) else self.names
        writer, flaws, cut = TokenWriter(names, self.vocabulary), Flaws(), 0
        for start in range(0, len(texts), CHUNK):
            found, refused, over = self._tokenised(texts[start : start + CHUNK])
            cut += over
            for row, ids in enumerate(found[IDS]):
                flaw = refused.get(row) or self.flaw_in(ids)
                if flaw is not None:
                    flaws.add(start + row + 1, flaw)
                    found[IDS][row] = [0] * len(ids)
            writer.add(found)
        return writer.done(flaws, cut)

    def encode_apart(self, rows: Sequence[tuple[str, ...]]) -> EncodedTexts:
        """Tokenise all first texts of rows, then all second ones, as texts of their own; flaws are of rows."""
        parts = [self.encode(list(side)) for side in zip(*rows, strict=True)] or [self.encode([])]
        flaws = {row: flaw for part in reversed(parts) for row, flaw in part.flaws.rows().items()}
        return joined(parts, Flaws(dict(sorted(flaws.items()))))

    def _tokenised(self, texts: Sequence[Given]) -> tuple[Lists, dict[int, Flaw], int]:
        """Return the numbers of some texts, which of them the tokenizer refuses, and how many are cut."""
        try:
            found, over = self._call(texts)
            return found, {}, over
        except Exception:  # tokenizers raise errors of many unrelated types, and do not say for which text
            return self._one_by_one(texts)

    def _one_by_one(self, texts: Sequence[Given]) -> tuple[Lists, dict[int, Flaw], int]:
        names = (*self.names, WORDS) if isinstance(texts[0], list) else self.names
        rows: Lists = {name: [] for name in names}
        refused, cut = {}, 0
        for row, text in enumerate(texts):
            try:
                found, over = self._call([text])
            except Exception as error:
                refused[row] = Flaw("text that the tokenizer refuses", first_line(error), ANOTHER)
                found, over = {name: [[0]] for name in names}, 0
            cut += over
            for name in names:
                rows[name] += found.get(name, [[1] * len(found[IDS][0])])
        return rows, refused, cut

    def _call(self, texts: Sequence[Given]) -> tuple[Lists, int]:
        short = [self._beginnings(text) for text in texts]
        lists, cut = self._numbers(short)
        for row, (text, whole) in enumerate(zip(short, texts, strict=True)):
            # Too little came of the beginning: of a text that is blank for long, say.
            if text is not whole and len(lists[IDS][row]) < self.max_length:
                again, is_cut = self._numbers([whole])
                cut[row] = is_cut[0]
                for name, rows in lists.items():
                    rows[row] = again[name][0]
        return lists, sum(cut)

    def _numbers(self, texts: Sequence[Given]) -> tuple[Lists, list[bool]]:
        """Return the numbers of texts, and of each whether it has more tokens than are kept."""
        found = self._called(texts, truncation=True, max_length=self.max_length)
        lists: Lists = {name: list(found[name]) for name in self.names if name in found}
        if isinstance(texts[0], list):
            lists[WORDS] = [first_pieces(encoding.word_ids) for encoding in found.encodings]
        full = [len(ids) == self.max_length for ids in lists[IDS]]
        return lists, [at_end and self._is_cut(found, texts, row) for row, at_end in enumerate(full)]

    def _called(self, texts: Sequence[Given], **options: Any) -> Any:
        """Call the tokenizer with texts, or with the first and the second texts of pairs."""
        if isinstance(texts[0], list):
            return self.tokenizer([*texts], is_split_into_words=True, padding=False, **options)
        pairs = isinstance(texts[0], tuple)
        given = [list(side) for side in zip(*texts, strict=True)] if pairs else [list(texts)]
        return self.tokenizer(*given, padding=False, **options)

    def _beginnings(self, text: Given) -> Given:
        """Return the beginning of a text, or of both of a pair; the very same object where nothing is left out."""
        if isinstance(text, str):
            return self.beginning(text)
        if isinstance(text, list):
            return text
        parts = (self.beginning(text[0]), self.beginning(text[1]))
        first, second = kept_of_pair(self.tokenizer, text, parts, self.max_length)
        return text if first is text[0] and second is text[1] else (first, second)

    def beginning(self, text: str) -> str:
        """Return as much of a text as ``max_length`` tokens can come from, up to a blank."""
        most = max(self.max_length * CHARACTERS_PER_TOKEN, SHORT)
        if len(text) <= most or getattr(self.tokenizer, "truncation_side", "right") != "right":
            return text
        end = max(text.rfind(" ", 0, most), text.rfind("\n", 0, most))
        return text[: end if end > most // 2 else most]

    def _is_cut(self, found: Any, texts: Sequence[Given], row: int) -> bool:
        if getattr(found, "encodings", None):
            return bool(found.encodings[row].overflowing)
        whole = self._called([texts[row]], truncation=False, verbose=False)[IDS][0]
        return len(whole) > self.max_length

    def flaw_in(self, ids: Sequence[int]) -> Flaw | None:
        """Say what is wrong with a text that has these tokens."""
        if not ids:
            return Flaw("text without any token")
        if None in ids:
            return Flaw("text with a word that the tokenizer has no token for", advice=ANOTHER)
        if self.vocabulary is None or 0 <= min(ids) <= max(ids) < self.vocabulary:
            return None
        number = next(number for number in ids if not 0 <= number < self.vocabulary)
        name = self.tokenizer.convert_ids_to_tokens(number)
        what = f"text with a token beyond the {self.vocabulary} rows of the model's embedding"
        return Flaw(what, f"`{name}` has the number {number}", ENLARGE)

    def batch(
        self, texts: EncodedTexts, rows: Sequence[int], device: torch.device
    ) -> dict[str, torch.Tensor]:
        """Return the chosen rows as tensors ``(rows, longest of them)`` on a device, padded on the right."""
        padded = {name: texts.padded(name, rows, self._filler(name)) for name in self.names}
        return {
            name: torch.from_numpy(values).to(device, non_blocking=True) for name, values in padded.items()
        }

    def save(self, folder: Path) -> None:
        """Write the tokenizer into a folder; raises ``OSError`` where that cannot be done."""
        try:
            self.tokenizer.save_pretrained(folder)
        except Exception as error:
            # The library behind fast tokenizers raises bare exceptions for a full disk.
            found = OS_ERROR.search(str(error))
            if found is None:
                raise
            raise OSError(int(found[1]), os.strerror(int(found[1]))) from None

    def _filler(self, name: str) -> int:
        if name == IDS:
            return self.tokenizer.pad_token_id or 0
        return self.tokenizer.pad_token_type_id if name == "token_type_ids" else 0


def make_text_encoder(tokenizer: Any, backbone: torch.nn.Module, max_length: int) -> TextEncoder:
    """Return the encoder for a backbone; inputs that its ``forward`` does not name are left out.

    A mask of real tokens is always among them: without it padding would count.
    """
    taken: Mapping[str, Any] = inspect.signature(backbone.forward).parameters
    given = tokenizer.model_input_names
    given = [given] if isinstance(given, str) else list(given or ())
    names = [name for name in (*given, MASK) if name in taken]
    return TextEncoder(tokenizer, tuple(dict.fromkeys([IDS, *names])), max_length, vocabulary_of(backbone))


def vocabulary_of(backbone: torch.nn.Module) -> int | None:
    """Return how many tokens a backbone's embedding has rows for, None where it has no such table."""
    try:
        embedding = backbone.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    return embedding.num_embeddings if isinstance(embedding, torch.nn.Embedding) else None


def check_tokenizer(spec: Spec, encoder: TextEncoder) -> None:
    """Refuse a tokenizer that does not fit the model (FP478).

    Its padding token may have no row in the model's embedding; one of its inputs may not be a number per token; it
    may put nothing between the two texts of a pair.
    """
    _check_pairs(spec, encoder.tokenizer)
    _check_words(spec, encoder.tokenizer)
    number, rows = encoder.tokenizer.pad_token_id, encoder.vocabulary
    if number is not None and rows is not None and not 0 <= number < rows:
        token = f"the padding token `{encoder.tokenizer.pad_token}`"
        message = f"{token} has the number {number}, and the model's embedding has {rows} rows"
        advice = f"{ENLARGE}, or set `pad_token` to a token that the model knows"
        raise spec.locations.error(("model", "source"), "FP478", message, help=advice)
    odd = _odd_input(encoder)
    if odd is not None:
        message = f"the tokenizer's input `{odd}` is not one number per token, and the model takes it"
        advice = "name a source whose tokenizer reads plain text"
        raise spec.locations.error(("model", "source"), "FP478", message, help=advice)


def reads_pairs(spec: Spec) -> bool:
    """Whether some task of a spec reads pairs of texts, both at once."""
    return bool(_over_pairs(spec))


def _over_pairs(spec: Spec) -> list[int]:
    """Return the places of the tasks whose texts are read in pairs: not each by itself, to be compared."""
    return [
        place
        for place, task in enumerate(spec.task)
        if task.data is not None and task.data.text_pair is not None and not task_kind(task).compares
    ]


def _check_pairs(spec: Spec, tokenizer: Any) -> None:
    if not reads_pairs(spec) or _added(tokenizer, pair=True) > _added(tokenizer, pair=False):
        return
    index = _over_pairs(spec)[0]
    message = "the tokenizer puts nothing between two texts: the model could not tell where the second begins"
    advice = "write both texts into one column, with words between them, or name another source"
    raise spec.locations.error(("task", index, "data", "text_pair"), "FP478", message, help=advice)


def _check_words(spec: Spec, tokenizer: Any) -> None:
    """Refuse a tokenizer that does not tell words apart, for tasks over words."""
    over_words = [place for place, task in enumerate(spec.task) if task.data and task.data.tokens]
    problem = _word_problem(tokenizer) if over_words else None
    if problem is not None:
        at = ("task", over_words[0], "data", "tokens")
        raise spec.locations.error(at, "FP478", problem[0], help=problem[1])


def _word_problem(tokenizer: Any) -> tuple[str, str] | None:
    if not getattr(tokenizer, "is_fast", False):
        message = "the tokenizer does not tell which word a token is of"
        return message, "name a source with a fast tokenizer (a `tokenizer.json`)"
    try:
        apart = tokenizer(list(TWO_WORDS), is_split_into_words=True)[IDS]
        together = tokenizer(" ".join(TWO_WORDS))[IDS]
    except Exception as error:  # tokenizers raise errors of many unrelated types
        return f"the tokenizer does not take words: {first_line(error)}", SPACES
    if apart != together:
        return "the tokenizer glues words that come one by one: their tokens are not those of a text", SPACES
    return None


def first_pieces(words: Sequence[int | None]) -> list[int]:
    """Return, for each token, the word that it begins, counted from 1, else 0.

    >>> first_pieces([None, 0, 1, 1, 2, None])
    [0, 1, 2, 0, 3, 0]
    """
    before = [None, *words]
    return [
        0 if word is None or word == last else word + 1 for word, last in zip(words, before, strict=False)
    ]


def _added(tokenizer: Any, *, pair: bool) -> int:
    return int(tokenizer.num_special_tokens_to_add(pair=pair))


def _odd_input(encoder: TextEncoder) -> str | None:
    try:
        found = encoder.tokenizer(["text"], truncation=True, max_length=encoder.max_length, padding=False)
    except Exception:  # whatever it is, the rows of the data will show it by their lines
        return None
    lists = {name: found[name][0] for name in encoder.names if name in found}
    width = len(lists[IDS])
    return next((name for name, row in lists.items() if len(row) != width or not _flat(row)), None)


def _flat(row: Sequence[Any]) -> bool:
    return all(number is None or isinstance(number, int) for number in row)


def longest_text(spec: Spec, tokenizer: Any, backbone: torch.nn.Module, usual: int = LONGEST) -> int:
    """Return the most tokens of a text: the spec's ``max_length``, else what the model takes, at most ``usual``.

    Raises ``DiagnosticError`` (FP465) when the spec asks for more than the model has positions for, or for no
    more than the tokenizer adds to every text; or when the model takes no more than that.
    """
    limit = most_tokens(tokenizer, backbone)
    asked = spec.train.max_length
    if asked is not None and asked > limit:
        message = f"max_length = {asked} is more than the model takes"
        raise _unfit_length(spec, message, f"the model takes {limit} tokens at most")
    chosen = min(usual, limit) if asked is None else asked
    added = _added(tokenizer, pair=reads_pairs(spec))
    if chosen <= added + reads_pairs(spec):
        what = "the model takes" if asked is None else "max_length ="
        message = f"{what} {chosen}{' tokens, which' if asked is None else ''} leaves no room for a text"
        advice = f"the tokenizer adds {counted(added, 'token')} of its own to each"
        raise _unfit_length(spec, message, advice)
    return chosen


def most_tokens(tokenizer: Any, backbone: torch.nn.Module) -> int:
    """Return the most tokens of a text that both a tokenizer and a backbone take."""
    return min(_tokenizer_limit(tokenizer), most_positions(backbone))


def _tokenizer_limit(tokenizer: Any) -> int:
    """Return the most tokens that a tokenizer says it makes; what is no number above 0 says nothing."""
    limit = tokenizer.model_max_length
    usable = isinstance(limit, (int, float)) and not isinstance(limit, bool) and limit > 0
    return int(min(limit, UNLIMITED)) if usable else UNLIMITED


def _unfit_length(spec: Spec, message: str, advice: str) -> DiagnosticError:
    return spec.locations.error(("train", "max_length"), "FP465", message, help=advice)
