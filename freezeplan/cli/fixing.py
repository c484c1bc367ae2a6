"""``check --fix``: slips that can mean one thing only, mended in the file and said line by line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from freezeplan.cli.streams import Settings, print_err
from freezeplan.cli.writing import write_bytes

MARK = b"\xef\xbb\xbf"


def fix_slips(specs: Iterable[Path], settings: Settings) -> None:
    """Mend each spec that can be read, and say on standard error what was put in the place of what."""
    from freezeplan.render.visible import visible
    from freezeplan.spec.fixing import mended
    from freezeplan.spec.sources import UnreadableSpec, read_file

    for path in specs:
        try:
            before = read_file(path).text
        except UnreadableSpec:  # what is wrong with it is said by the check
            continue
        after, slips = mended(before, path)
        for slip in slips:
            print_err(visible(f"fixed {slip.span}: {slip.fix.was} -> {slip.fix.text}", keep=""), settings)
        if slips:
            mark = MARK if path.read_bytes().startswith(MARK) else b""
            write_bytes(path, mark + after.encode(), "SPEC")
