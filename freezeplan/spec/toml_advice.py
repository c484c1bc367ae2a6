"""What was meant by text that is not TOML: the slips that people make, and what to write instead."""

from __future__ import annotations

import re

CURLY = re.compile("[\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}\N{DOUBLE LOW-9 QUOTATION MARK}"
                   "\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}]")  # fmt: skip
DASH = re.compile("[\N{MINUS SIGN}\N{EN DASH}\N{EM DASH}\N{NON-BREAKING HYPHEN}]")
WORD = re.compile(r"[A-Za-z][\w./@*:-]*")
BACKSLASH = "write paths and patterns with backslashes in single quotes: they escape nothing"
MESSAGES = (
    ("Expected '=' after a key", "TOML writes `key = value`"),
    ("Unescaped '\\'", BACKSLASH),
    ("Invalid hex value", BACKSLASH),
    ("Illegal character '\\n'", 'close the string on its own line, or use """three quotes"""'),
    ('Expected "\'"', "the string is not closed on its line"),
    ("Invalid initial character for a key part", "a key is made of letters, digits, `_` and `-`, or quoted"),
    ("Expected ']]'", "an array of tables has two brackets on each side: `[[rule]]`"),
    ("Expected ']'", "close the table's name: `[model]`"),
    ("Expected newline or end of document", "put each `key = value` on a line of its own"),
    ("Unclosed array", "separate the entries by commas and close the array with `]`"),
    ("Unclosed inline table", "separate the keys by commas and close the table with `}` on the same line"),
    ("Unterminated string", "close the string"),
)
# What stands behind the `=`, as far as it tells what was meant.
VALUES = (
    (re.compile(r"\{[^}]*$"), "write an inline table on one line"),
    (re.compile(r"="), "write one `=`"),
    (re.compile(r"(?P<sign>[+-]?)(?P<rest>\.\d+)"), "write `{sign}0{rest}`: a number has a digit before its dot"),
    (re.compile(r"(?P<number>[+-]?\d+)\.(?!\d)"), "write `{number}.0`: a number has a digit behind its dot"),
    (re.compile(r"[+-]?0+(?P<number>\d+)"), "write `{number}`, without zeros in front"),
    (re.compile(r"(?P<number>\d+(\.\d+)?)\s*%"), "write a fraction in place of percent: 5 % is `0.05`"),
    (re.compile(r"\d[\d.e+-]*\s*[*^/]"), "TOML works nothing out: write the number itself, such as `1e-5`"),
    (re.compile(r"'[^']*'\w"), "write a string that holds an apostrophe in double quotes"),
    (re.compile(r"(?![\[{])[^#]*[^#\s,;]\s*(?P<end>[,;])\s*(#.*)?$"), "remove the `{end}` at the end of the line"),
)  # fmt: skip


def advice_on(message: str, line: str, column: int) -> str | None:
    """Return what to write, from ``tomllib``'s message, the line, and the column (from 1) where it stopped."""
    if CURLY.search(line):
        return 'these are typographic quotes: write straight ones, `"…"`'
    if DASH.search(line):
        return "this dash is not the minus sign of a number: write `-`"
    if message.startswith(("Invalid value", "Expected newline", "Invalid initial character")):
        value = line.partition("=")[2].strip()
        for pattern, advice in VALUES:
            if found := pattern.match(value):
                return advice.format(**found.groupdict())
    if message.startswith("Invalid value"):
        return _of_a_value(line[column - 1 :])
    return next((advice for start, advice in MESSAGES if message.startswith(start)), None)


def _of_a_value(rest: str) -> str:
    word = WORD.match(rest)
    if word is None:
        return "a value is a string in quotes, a number, true, false, an [array] or an inline {table}"
    if word.group().lower() in ("true", "false"):
        return f"write `{word.group().lower()}`"
    if word.group().lower() in ("none", "null"):
        return "TOML has no null: leave the key out"
    return f'strings stand in quotes: `"{word.group()}"`'
