"""Pages of the documentation that are generated: the diagnostics and the language's tables, and a list of advice.

``python -m tools.pages docs`` writes them; a test holds the files to what this makes.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from freezeplan.diagnostics import Entry, entries
from freezeplan.plan.binding import OPTION_NAMES
from freezeplan.plan.optimizers import OptimizerFacts, optimizer_table
from freezeplan.render.filling import fill_template
from tools.schema_tables import key_tables

TEMPLATES = Path(__file__).parent / "templates"
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HOSTS = BENCHMARKS / "hosts.json"
FAMILIES = {
    "FP0": "Files and TOML",
    "FP1": "Specs and models",
    "FP2": "Matching",
    "FP3": "Coverage and collisions",
    "FP4": "Optimizers, training data and advice",
    "FP5": "Runs and evidence",
}


def write_pages(folder: Path | str) -> tuple[Path, ...]:
    """Write every generated page below ``folder``; return the paths written, in order.

    Pages of ``folder/diagnostics`` that no code belongs to any more are removed.
    """
    pages = generated_pages()
    written = tuple(Path(folder) / name for name in pages)
    for stale in set(Path(folder).glob("diagnostics/*.md")) - set(written):
        stale.unlink()
    for path, text in zip(written, pages.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", newline="\n")
    for path, name, table in generated_tables():
        page = Path(folder) / path
        if page.is_file():
            page.write_text(with_table(page.read_text("utf-8"), name, table), "utf-8", newline="\n")
    return written


def generated_tables() -> Iterator[tuple[str, str, str]]:
    """Yield the tables that stand on pages written by hand: the page, the name of the marks, the table."""
    yield "language.md", "advice", advice_table(entries().values())
    yield "testing.md", "benchmarks", benchmark_table(BENCHMARKS)
    yield "scaling.md", "hosts", hosts_table(json.loads(HOSTS.read_text("utf-8")))


def with_table(page: str, name: str, table: str) -> str:
    """Return a page with a table between the two marks of that name; raises ``ValueError`` without them."""
    begin, end = (f"<!-- {word} {name} -->" for word in ("begin", "end"))
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"the page has no `{begin}` and `{end}`")
    return f"{before}{begin}\n{table}{end}{after}"


def advice_table(items: Iterable[Entry]) -> str:
    """Return a table of the warnings about plans; codes below FP200 are about sources, from FP450 on about data."""
    advice = [item for item in items if item.severity == "warning" and "FP200" <= item.code < "FP450"]
    return _render("advice.md.j2", advice=advice)


def generated_pages() -> dict[str, str]:
    """Return the text of every generated page by its path below ``docs/``."""
    from freezeplan.spec.schema import json_schema

    optimizers = optimizer_table().values()
    tables = _render("tables.md.j2", tables=key_tables(json_schema()), optimizers=optimizers)
    return {**diagnostic_pages(entries().values()), "reference/tables.md": tables}


def benchmark_table(folder: Path) -> str:
    """Return a table of the modules of a folder that are commands, with the first sentence of each."""
    sources = {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.py"))}
    commands = {
        name: " ".join((ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].split())
        for name, text in sources.items()
        if "\nif __name__ ==" in text
    }
    return _render("benchmarks.md.j2", commands=commands)


def hosts_table(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of what each host was checked for, as ``python -m benchmarks.hosts --write`` keeps it."""
    features = list(dict.fromkeys(feature for cells in hosts.values() for feature in cells))
    return _render("hosts.md.j2", hosts=hosts, features=features)


def diagnostic_pages(items: Iterable[Entry]) -> dict[str, str]:
    """Return one page per family of codes that has any, with an anchor per code, and their index."""
    families: dict[str, list[Entry]] = {family: [] for family in FAMILIES}
    for item in items:
        families[item.code[:3]].append(item)
    families = {family: codes for family, codes in families.items() if codes}
    pages = {
        f"diagnostics/{page_name(family)}": _render("family.md.j2", title=FAMILIES[family], codes=codes)
        for family, codes in families.items()
    }
    return {"diagnostics/index.md": _render("index.md.j2", families=families, titles=FAMILIES), **pages}


def page_name(family: str) -> str:
    """Return the file name of a family's page.

    >>> page_name("FP2")
    'fp2xx.md'
    """
    return f"{family.lower()}xx.md"


def option_names(facts: OptimizerFacts) -> list[str]:
    """Return the options of an optimizer that a spec may set, in the optimizer's order."""
    return [name for name in facts.options if name in (*OPTION_NAMES, "weight_decay")]


def state_words(facts: OptimizerFacts) -> str:
    """Say how much an optimizer keeps for a tensor of n parameters.

    >>> state_words(optimizer_table()["adamw"])
    '2n, amsgrad + 1n'
    """
    size = "a row and a column" if facts.factored else f"{facts.copies}n" if facts.copies else "nothing"
    return ", ".join([size, *(f"{name} + {copies}n" for name, copies in facts.extra.items())])


def cell(text: str) -> str:
    """Make text safe inside a cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())


def fence(text: str) -> str:
    """Return a code fence longer than any run of backquotes inside ``text``."""
    longest = max((len(run) for run in "".join(c if c == "`" else " " for c in text).split()), default=0)
    return "`" * max(3, longest + 1)


def _render(template: str, **values: Any) -> str:
    filters = {"cell": cell, "fence": fence, "page_name": page_name}
    filters |= {"option_names": option_names, "state_words": state_words}
    return fill_template(template, filters, TEMPLATES, **values)


def main(arguments: Sequence[str]) -> int:
    """Write the pages below the folder that is named, ``docs`` without one; returns the exit status."""
    if len(arguments) > 1 or any(word.startswith("-") for word in arguments):
        print("usage: python -m tools.pages [FOLDER]", file=sys.stderr)
        return 2
    write_pages(*arguments or ("docs",))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
