"""What a `re:` pattern may hold: no recursion, no repetition that grows into gigabytes before it is ever tried.

The ``regex`` package compiles a counted repetition by writing it out, so nested counts multiply, and its groups by
recursion. The time limit of a match comes too late for either: both are refused here, from the text alone.
"""

from __future__ import annotations

import re

from freezeplan.spec.selector_error import SelectorError

MOST_COPIES = 10_000
DEEPEST = 40
LONGEST = 2000
CODE = "FP145"

TOKEN = re.compile(
    r"""
      (?P<escape> \\. )
    | (?P<set> \[ \^? \]? (?: [^\]\\] | \\. )* \] )
    | (?P<open> \( (?: \? (?: P?<[A-Za-z_]\w*> | <?[=!] | [:>|] | P=\w+\) | -?[imsa]+[:)] ) )? )
    | (?P<close> \) )
    | (?P<count> \{ (?P<low>\d*) (?P<comma>,?) (?P<high>\d*) \} )
    | (?P<fuzzy> \{ [^{}]* \} )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)


def check_regex(text: str, at: int) -> None:
    """Raise :class:`SelectorError` (FP145) unless an expression is of a kind that is safe to compile.

    ``at`` is the place of its first character in the pattern. What is allowed is what ``re`` of the standard
    library has too, except conditions, verbose text and comments.
    """
    if len(text) > LONGEST:
        raise _refused(
            f"an expression of {len(text):,} characters", 0, len(text), at, "use a glob, or several rules"
        )
    # For each open group: how many copies its parts make, and those of the part that ended last.
    copies, last = [0], [0]
    for found in TOKEN.finditer(text):
        kind = found.lastgroup if found["count"] is None else "count"
        if kind == "open" and not found.group().endswith(")"):
            _check_group(text, found, len(copies), at)
            copies.append(0)
            last.append(0)
        elif kind == "close" and len(copies) > 1:
            inner = max(copies.pop(), 1)
            last.pop()
            copies[-1], last[-1] = copies[-1] + inner, inner
        elif kind == "fuzzy":
            what = f"`{found.group()}`, which is no count"
            raise _refused(what, found.start(), len(found.group()), at, "write a brace of its own as `\\{`")
        elif kind == "count":
            times = max(int(found[end][:9] or 0) for end in ("low", "high"))
            copies[-1] += last[-1] * max(times - 1, 0)
            last[-1] *= max(times, 1)
        else:
            copies[-1], last[-1] = copies[-1] + 1, 1
        if copies[-1] > MOST_COPIES:
            what = f"repetitions that write out more than {MOST_COPIES:,} parts"
            raise _refused(what, found.start(), len(found.group()), at, "use `*` or `+`, or smaller counts")


def _check_group(text: str, found: re.Match[str], depth: int, at: int) -> None:
    if depth > DEEPEST:
        raise _refused(f"groups nested deeper than {DEEPEST}", found.start(), 1, at, "use fewer groups")
    if found.group() == "(" and text[found.end() : found.end() + 1] in ("?", "*"):
        what = (
            "a kind of group other than `(…)`, `(?:…)`, `(?P<name>…)`, `(?=…)`, `(?!…)`, `(?<=…)`, `(?<!…)`"
        )
        raise _refused(what, found.start(), 2, at, "recursion, conditions and comments are not allowed here")


def _refused(what: str, start: int, length: int, at: int, advice: str) -> SelectorError:
    return SelectorError(CODE, f"the regular expression has {what}", at + start, length, advice)
