"""What ``requires`` asks of the libraries that are installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from freezeplan.diagnostics import Diagnostic, KeyPart
from freezeplan.diagnostics.wording import in_quotes, printable
from freezeplan.spec.document import Document
from freezeplan.spec.locations import at_key

OWN_NAME = "freezeplan"


def check_requirements(document: Document) -> Iterator[Diagnostic]:
    """Yield a problem for each version that is no set of versions, and each that the installed one is not in."""
    for name, text in document.table("requires").items():
        if isinstance(text, str):
            yield from _check(name, text)


def _check(name: str, text: str) -> Iterator[Diagnostic]:
    # Only here: a spec that requires nothing is read without it.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    path = ("requires", name)
    try:
        wanted = SpecifierSet(text)
    except InvalidSpecifier:
        message = f"{in_quotes(printable(text))} is no set of versions"
        yield at_key(path, "FP146", message, help='write `">=5.0"`, `">=5.0, <6"` or `"==5.1.2"`')
        return
    found = _installed(name)
    if found is None:
        message = f"this spec requires {in_quotes(printable(name))}, which is not installed"
        yield at_key(
            path,
            "FP147",
            message,
            help=f"install it: `pip install '{printable(name + text)}'`",
            part=KeyPart.KEY,
        )
    elif not wanted.contains(found, prereleases=True):
        message = f"this spec requires {name} {printable(text)}, and {found} is installed"
        advice = (
            "install a version it allows, or look at the plan with this one (`freezeplan diff`) and allow it"
        )
        yield at_key(path, "FP147", message, help=advice)


def _installed(name: str) -> str | None:
    from freezeplan import __version__

    if name == OWN_NAME:
        return __version__
    try:
        return version(name)
    except (PackageNotFoundError, ValueError):
        return None
