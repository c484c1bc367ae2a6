"""Draw renderables the way the command does: fixed width, with or without colour."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

WIDE = 100_000


class _Encoded(io.StringIO):
    encoding = "ascii"


def drawn(renderable: Any, width: int = WIDE, *, color: bool = False, ascii_only: bool = False) -> str:
    """Return what a console of ``width`` cells shows, without the spaces at the ends of its lines."""
    console = Console(
        file=_Encoded() if ascii_only else io.StringIO(),
        width=width,
        color_system="truecolor" if color else None,
        force_terminal=color,
        markup=False,
        emoji=False,
        highlight=False,
    )
    with console.capture() as capture:
        console.print(renderable, crop=False)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
