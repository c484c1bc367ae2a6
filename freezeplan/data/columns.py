"""Columns of a table in compact form: texts, labels and images, without an object per row."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy

from freezeplan.data.findings import Flaws
from freezeplan.data.images import BadImage, image_flaw, pixels_of
from freezeplan.data.spool import Spool
from freezeplan.data.values import label_problem, text_flaw
from freezeplan.tasks.flaws import Flaw

PATH, ENCODED, PIXELS = range(3)
# Numbers of an image's height, width and channels (0: none) before its pixels.
SHAPE = numpy.dtype("<u4")


class _Rows(Sequence[Any]):
    """Hold rows of bytes: one buffer, and where each row ends in it."""

    def __init__(self, data: numpy.ndarray, ends: numpy.ndarray) -> None:
        self.data, self.ends = data, ends

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> Any: ...
    @overload
    def __getitem__(self, row: slice) -> list[Any]: ...
    def __getitem__(self, row: int | slice) -> Any:
        if isinstance(row, slice):
            return [self._value(number) for number in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        return self._value(row % len(self))

    def __iter__(self) -> Iterator[Any]:
        return (self._value(row) for row in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def _bytes(self, row: int) -> bytes:
        return self.data[self.ends[row - 1] if row else 0 : self.ends[row]].tobytes()

    def _value(self, row: int) -> Any:
        raise NotImplementedError

    def keys(self) -> numpy.ndarray:
        """Return a hash of 64 bits per row, equal for equal rows."""
        found = array("Q")
        for row in range(len(self)):
            found.append(int.from_bytes(hashlib.blake2b(self._key(row), digest_size=8).digest(), "little"))
        return numpy.frombuffer(found, dtype=numpy.uint64)

    def _key(self, row: int) -> bytes:
        return self._bytes(row)

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return self.data.nbytes + self.ends.nbytes


class Texts(_Rows):
    """Hold texts as UTF-8, read like a sequence of ``str``.

    >>> texts = texts_of(["good", "café"])
    >>> texts[1], len(texts), texts == ["good", "café"]
    ('café', 2, True)
    """

    def _value(self, row: int) -> str:
        return self._bytes(row).decode("utf-8")


class Images(_Rows):
    """Hold images: paths of files, encoded bytes, or 8-bit pixels; read like a sequence of those."""

    def __init__(self, data: numpy.ndarray, ends: numpy.ndarray, forms: numpy.ndarray) -> None:
        super().__init__(data, ends)
        self.forms = forms

    def _value(self, row: int) -> Path | bytes | numpy.ndarray:
        data, form = self._bytes(row), self.forms[row]
        if form == PATH:
            return Path(data.decode("utf-8"))
        return data if form == ENCODED else _unpacked(data)

    def _key(self, row: int) -> bytes:
        """Return what equal images have in common: their bytes, those of the file where a row names one."""
        data = self._bytes(row)
        return Path(data.decode("utf-8")).read_bytes() if self.forms[row] == PATH else data


class Labels(Sequence[str]):
    """Hold labels as numbers into their distinct ``names``, which stand in the order in which they are met."""

    def __init__(self, names: Sequence[str], codes: numpy.ndarray) -> None:
        self.names, self.codes = tuple(names), codes

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self.names[code] for code in self.codes[row]]
        return self.names[self.codes[row]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def sorted_names(self) -> tuple[str, ...]:
        """The distinct labels, sorted as strings: the order of a head's outputs."""
        return tuple(sorted(self.names))

    def numbered(self, labels: Sequence[str]) -> numpy.ndarray:
        """Return each row's place in ``labels``, which must hold all of them, as 64-bit numbers."""
        place = {label: index for index, label in enumerate(labels)}
        return numpy.array([place[name] for name in self.names], dtype=numpy.int64)[self.codes]

    def rows_of(self, name: str, most: int) -> tuple[int, list[int]]:
        """Return how many rows have a label, and the first few of them, counted from 1."""
        found = numpy.flatnonzero(self.codes == self.names.index(name))
        return len(found), [int(row) + 1 for row in found[:most]]

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return self.codes.nbytes


@dataclass(frozen=True)
class Column:
    """Hold one column, and which of its rows cannot be used; the values of those stand for nothing.

    ``bright`` tells of images whether some number in them is above 1, None where they hold no numbers.
    """

    values: Any
    flaws: Flaws
    bright: bool | None = None


class TextsBuilder:
    """Take the values of a text column, one row after the other."""

    def __init__(self) -> None:
        self.flaws = Flaws()
        self._data, self._ends = Spool(), array("q")

    def add(self, value: Any, folder: Path | None = None) -> None:
        """Add the value of the next row; one that is no text is noted as a flaw."""
        flaw = text_flaw(value)
        if flaw is None:
            self._data.append(value.encode("utf-8"))
        else:
            self.flaws.add(len(self._ends) + 1, flaw)
        self._ends.append(self._data.size)

    def done(self) -> Column:
        """Return the column."""
        ends = numpy.frombuffer(self._ends, dtype=numpy.int64)
        return Column(Texts(self._data.array(numpy.uint8), ends), self.flaws)


class LabelsBuilder:
    """Take the values of a label column, one row after the other."""

    def __init__(self) -> None:
        self.flaws = Flaws()
        self._codes, self._names = array("i"), dict[str, int]()

    def add(self, value: Any, folder: Path | None = None) -> None:
        """Add the value of the next row; one that is no label is noted as a flaw."""
        problem = label_problem(value)
        if problem is not None:
            self.flaws.add(len(self._codes) + 1, Flaw(problem))
            self._codes.append(-1)
            return
        name = value if isinstance(value, str) else str(value)
        self._codes.append(self._names.setdefault(name, len(self._names)))

    def done(self) -> Column:
        """Return the column."""
        codes = numpy.frombuffer(self._codes, dtype=numpy.int32)
        return Column(Labels(tuple(self._names), codes), self.flaws)


class ImagesBuilder:
    """Take the values of an image column, one row after the other; a path starts at the data's folder."""

    def __init__(self) -> None:
        self.flaws, self.bright = Flaws(), None
        self._data, self._ends, self._forms = Spool(), array("q"), array("b")

    def add(self, value: Any, folder: Path | None = None) -> None:
        """Add the value of the next row; what is no image is noted as a flaw."""
        try:
            form, data = self._packed(value, folder)
        except BadImage as problem:
            self.flaws.add(len(self._ends) + 1, problem.flaw)
            form, data = ENCODED, b""
        self._data.append(data)
        self._ends.append(self._data.size)
        self._forms.append(form)

    def _packed(self, value: Any, folder: Path | None) -> tuple[int, bytes]:
        flaw = image_flaw(value, folder)
        if flaw is not None:
            raise BadImage(flaw.what, flaw.detail)
        if isinstance(value, dict):
            value = value["path"] if value["bytes"] is None else value["bytes"]
        if isinstance(value, str):
            return PATH, str((folder or Path()) / value).encode("utf-8")
        if isinstance(value, bytes):
            return ENCODED, value
        pixels = pixels_of(value)
        self.bright = bool(self.bright) or bool((pixels > 1).any())
        return PIXELS, _packed_pixels(pixels)

    def done(self) -> Column:
        """Return the column."""
        ends = numpy.frombuffer(self._ends, dtype=numpy.int64)
        forms = numpy.frombuffer(self._forms, dtype=numpy.int8)
        return Column(Images(self._data.array(numpy.uint8), ends, forms), self.flaws, self.bright)


def texts_of(values: Sequence[str]) -> Texts:
    """Return texts in compact form."""
    builder = TextsBuilder()
    for value in values:
        builder.add(value)
    return builder.done().values


def _packed_pixels(pixels: numpy.ndarray) -> bytes:
    height, width, channels = (*pixels.shape, 0)[:3]
    return numpy.array([height, width, channels], dtype=SHAPE).tobytes() + pixels.tobytes()


def _unpacked(data: bytes) -> numpy.ndarray:
    height, width, channels = numpy.frombuffer(data, dtype=SHAPE, count=3)
    shape = (height, width, channels) if channels else (height, width)
    return numpy.frombuffer(data, dtype=numpy.uint8, offset=3 * SHAPE.itemsize).reshape(shape)
