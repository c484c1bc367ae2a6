"""How things are worded, the same in every message, table and log: names, counts, sizes, rates, first lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
FLOP_UNITS = ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP")
NOTHING = "-"
MOST_NAMES = 12
SHOWN_ROWS = 5
MOST_KNOWN = 4000
LONGEST_WORD = 200
LONGEST_QUOTE = 120
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
ONE_LINE = str.maketrans(dict.fromkeys("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", REPLACEMENT))


def printable(text: str) -> str:
    """Replace what cannot be printed on one line.

    >>> printable("a\\tb")
    'a�b'
    """
    return "".join(char if char.isprintable() else REPLACEMENT for char in text)


def format_rate(rate: float | None) -> str:
    """Write a learning rate exactly: the shortest digits that read back as the same float.

    Rates below 1 are always in scientific notation, so that a column compares at a glance; None
    (nothing trains, hence no rate) is a dash.

    >>> format_rate(2e-5), format_rate(0.01), format_rate(2.5e-4), format_rate(1.0), format_rate(None)
    ('2e-05', '1e-02', '2.5e-04', '1', '-')
    """
    if rate is None:
        return NOTHING
    if not 0 < abs(rate) < 1:
        return format_number(rate)
    sign, digits, exponent = Decimal(repr(float(rate))).normalize().as_tuple()
    power = int(exponent) + len(digits) - 1
    tail = "".join(map(str, digits[1:]))
    return f"{'-' * sign}{digits[0]}{'.' if tail else ''}{tail}e-{-power:02d}"


def format_number(value: float | int) -> str:
    """Write a number the shortest way that reads back as the same value.

    >>> format_number(0.01), format_number(0.0), format_number(3)
    ('0.01', '0', '3')
    """
    text = repr(value)
    return text[:-2] if text.endswith(".0") else text


def format_count(number: int) -> str:
    """Write an integer with thousands separated.

    >>> format_count(66362880)
    '66,362,880'
    """
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """Write a count with its noun in the right number.

    >>> counted(1, "error"), counted(2, "error")
    ('1 error', '2 errors')
    """
    return f"{format_count(number)} {plural(number, noun)}"


def plural(number: int, noun: str) -> str:
    """Write a noun in the number that goes with a count.

    >>> plural(1, "label"), plural(0, "label")
    ('label', 'labels')
    """
    return noun if number == 1 else f"{noun}s"


def format_percent(part: int, whole: int) -> str:
    """Write a share in percent; only nothing is ``0 %`` and only everything is ``100 %``.

    >>> format_percent(1, 3), format_percent(1, 10**9), format_percent(10**9 - 1, 10**9), format_percent(4, 4)
    ('33.3 %', '< 0.1 %', '> 99.9 %', '100 %')
    """
    if part == whole:
        return "100 %"
    if part == 0:
        return "0 %"
    share = 100 * part / whole
    return "< 0.1 %" if share < 0.05 else "> 99.9 %" if share >= 99.95 else f"{share:.1f} %"


def format_bytes(number: int) -> str:
    """Write a size in binary units.

    >>> format_bytes(512), format_bytes(3 * 2**20), format_bytes(10**20)
    ('512 B', '3.0 MiB', '86.7 EiB')
    """
    size, unit = float(number), 0
    while size >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{format_count(number)} B" if unit == 0 else f"{size:,.1f} {UNITS[unit]}"


def format_flops(number: int) -> str:
    """Write a count of floating-point operations in decimal units.

    >>> format_flops(96), format_flops(88_190_509_056), format_flops(0)
    ('96 FLOP', '88.2 GFLOP', '0 FLOP')
    """
    size, unit = float(number), 0
    while size >= 1000 and unit < len(FLOP_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{number} FLOP" if unit == 0 else f"{size:,.1f} {FLOP_UNITS[unit]}"


def format_shape(shape: tuple[int, ...]) -> str:
    """Write a tensor's shape the way a person reads it.

    >>> format_shape((768, 3072)), format_shape((5,)), format_shape(())
    ('768 x 3072', '5', 'scalar')
    """
    return " x ".join(map(str, shape)) if shape else "scalar"


def some(names: Sequence[str], most: int = 5) -> str:
    """List the first few names, and say how many more there are.

    >>> some(["a", "b", "c"], most=2)
    '`a`, `b` and 1 more'
    """
    return _with_rest(map(in_quotes, names[:most]), len(names) - most)


def first_few(lines: Sequence[str], most: int) -> list[str]:
    """Return the first few lines, and in one more how many there are besides: for the notes of a diagnostic.

    >>> first_few(["a", "b", "c"], most=2)
    ['a', 'b', 'and 1 more']
    """
    more = len(lines) - most
    return [*lines[:most], *([f"and {format_count(more)} more"] if more > 0 else [])]


def listed(names: Iterable[str]) -> str:
    """List names, runs of indices as ranges, at most a dozen.

    >>> listed(["0", "1", "2", "norm"])
    '`{0..2}`, `norm`'
    """
    return some(with_ranges(names), MOST_NAMES)


def _with_rest(shown: Iterable[str], more: int) -> str:
    return ", ".join(shown) + (f" and {format_count(more)} more" if more > 0 else "")


def with_ranges(names: Iterable[str]) -> list[str]:
    numbers, others = [], []
    for name in names:
        (numbers if name.isdecimal() and len(name) < 10 else others).append(name)
    ordered = sorted(int(number) for number in numbers)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return [f"{{{ordered[0]}..{ordered[-1]}}}", *others]
    return [*numbers, *others]


def rows_phrase(rows: Sequence[int]) -> str:
    """Name rows (counted from 1) in words, the first few of many.

    >>> rows_phrase([3]), rows_phrase([3, 7]), rows_phrase(range(1, 9))
    ('row 3', 'rows 3 and 7', 'rows 1, 2, 3, 4, 5 and 3 more')
    """
    shown = [str(row) for row in rows[:SHOWN_ROWS]]
    if 1 < len(rows) <= SHOWN_ROWS:
        shown = [f"{', '.join(shown[:-1])} and {shown[-1]}"]
    return f"{plural(len(rows), 'row')} {_with_rest(shown, len(rows) - SHOWN_ROWS)}"


def quoted(names: Iterable[str]) -> str:
    """Join names in backquotes.

    >>> quoted(["a", "b"])
    '`a`, `b`'
    """
    return ", ".join(map(in_quotes, names))


def in_quotes(name: str) -> str:
    """Write a name, which may be anything that stands in a file, in backquotes and on one line.

    >>> in_quotes("a"), in_quotes("a\\nb") == f"`a{REPLACEMENT}b`", len(in_quotes("a" * 5000))
    ('`a`', True, 203)
    """
    return f"`{shortened(name.translate(ONE_LINE), LONGEST_WORD)}`"


def shortened(text: str, most: int = LONGEST_QUOTE) -> str:
    """Return a text, its middle left out where it is longer than ``most`` characters.

    >>> shortened("abc"), len(shortened("a" * 5000))
    ('abc', 121)
    """
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2) :]}"


def nearest(word: str, known: Iterable[str], most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the known words that are most like one, best first; ``cutoff`` is the least share in common.

    Very long words, and of very many known ones all but the first thousands, are never meant by a slip.

    >>> nearest("distilbart", ["distilbert", "bert"])
    ['distilbert']
    """
    few = [name for name in islice(known, MOST_KNOWN) if len(name) <= LONGEST_WORD]
    return difflib.get_close_matches(word, few, most, cutoff) if len(word) <= LONGEST_WORD else []


def closest(
    word: str, known: Iterable[str], lead: str = "did you mean", shape: str = "`{}`", cutoff: float = 0.6
) -> str | None:
    """Return ``did you mean `x`?`` for the known word that is closest, None when none is close.

    ``shape`` is how the word is written in the question.

    >>> closest("distilbart", ["distilbert", "bert"]), closest("layer", ["layers"], shape="`@{}`")
    ('did you mean `distilbert`?', 'did you mean `@layers`?')
    """
    found = nearest(word, known, cutoff=cutoff)
    return f"{lead} {shape.format(found[0])}?" if found else None


def one_slip_away(word: str, known: Iterable[str]) -> str | None:
    """Return the one known word that is a single slip away: a letter too many, missing, wrong, or two exchanged.

    None where there are several, or the word has fewer than four letters.

    >>> one_slip_away("optmizer", ["optimizer", "schedule"]), one_slip_away("lr", ["lrs"])
    ('optimizer', None)
    """
    if not 4 <= len(word) <= LONGEST_WORD:
        return None
    found = [other for other in known if other != word and _is_one_slip(word, other)]
    return found[0] if len(found) == 1 else None


def _is_one_slip(word: str, other: str) -> bool:
    start = next((at for at, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), None)
    if start is None:
        return abs(len(word) - len(other)) == 1
    a, b = word[start:], other[start:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def closest_or_all(word: str, known: Iterable[str], what: str) -> str:
    """Suggest the closest of the known words, else list them; ``what`` names their kind in the plural.

    >>> closest_or_all("lable", ["text", "label"], "columns")
    'did you mean `label`?'
    """
    known = list(known)
    everything = f"the {what} are {some(known, MOST_NAMES)}" if known else f"there are no {what}"
    return closest(word, known) or everything


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message that says something, else its type's name.

    A line that ends with a colon only announces the next one, so both are returned.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith(":"):
        return f"{lines[0]} {lines[1]}"
    return lines[0] if lines else type(error).__name__
