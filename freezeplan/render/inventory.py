"""A model's inventory for people and programs: a line per parameter, the folded tree, or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text
from rich.tree import Tree

from freezeplan.diagnostics.wording import NOTHING, counted, format_count, format_shape
from freezeplan.inventory.records import Inventory, ParamInfo
from freezeplan.render.folding import Folded, folded_tree
from freezeplan.render.table import GAP, facts_grid
from freezeplan.render.visible import visible

HEADS = ("parameter", "shape", "format", "layer", "roles")
ROLE_STYLES = {
    "embeddings": "magenta",
    "layers": "cyan",
    "final_norm": "yellow",
    "pooler": "blue",
    "heads": "green",
    "norm": "yellow",
    "bias": "dim",
}


class InventoryView:
    """Render one line per parameter name in registration order, then what the model is as a whole.

    A console too narrow for the columns gets two lines per parameter, the name on the first; names are never cut.
    """

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = [_cells(info) for info in self.inventory.params]
        columns = zip(HEADS, *rows, strict=True)
        widths = [max(map(cell_len, column)) for column in columns]
        if sum(widths) + GAP * (len(widths) - 1) > options.max_width:
            yield from (line for row in rows for line in _two_lines(row))
        else:
            yield Text.assemble(*_spaced(HEADS, widths), style="bold")
            yield from (_one_line(row, widths) for row in rows)
        yield Text("")
        yield facts_grid(_facts(self.inventory))


class TreeView:
    """Render the tree of modules and parameters; neighbours that are alike are one line with their range."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        root = folded_tree(self.inventory)
        tree = Tree(_label(root, self.inventory.label), guide_style="dim")
        _add(tree, root)
        yield tree
        yield Text("")
        yield facts_grid(_facts(self.inventory))


def inventory_record(inventory: Inventory) -> dict[str, Any]:
    """Return what is known of a model as plain JSON types, parameters in registration order."""
    tensors = inventory.tensors
    return {
        "format_version": "1.0",
        "model": {"label": inventory.label, "origin": inventory.origin, "base": inventory.base},
        "totals": {"tensors": len(tensors), "parameters": sum(info.numel for info in tensors)},
        "stacks": [asdict(stack) for stack in inventory.stacks],
        "roles": {role: list(paths) for role, paths in inventory.role_nodes.items()},
        "parameters": [{**asdict(info), "roles": sorted(info.roles)} for info in inventory.params],
        "notes": list(inventory.notes),
        "weak": inventory.weak,
    }


def _cells(info: ParamInfo) -> tuple[str, ...]:
    layer = NOTHING if info.layer is None else f"{info.stack}[{info.layer}]"
    cells = (info.name, format_shape(info.shape), info.dtype, layer, " ".join(_shown_roles(info)))
    return tuple(visible(cell, keep="") for cell in cells)


def _shown_roles(info: ParamInfo) -> list[str]:
    """Return the roles as selectors; ``layers`` stands in its own column, and tied names say whose they are."""
    roles = [f"@{role}" for role in sorted(info.roles - {"layers"})]
    return roles + ([f"= {info.alias_of}"] if info.alias_of else [])


def _one_line(row: Sequence[str], widths: Sequence[int]) -> Text:
    line = Text("".join(_spaced(row[:-1], widths)) + " " * GAP, no_wrap=True)
    return line.append_text(_roles(row[-1]))


def _two_lines(row: Sequence[str]) -> tuple[Text, Padding]:
    name, shape, dtype, layer, roles = row
    facts = ", ".join(text for text in (shape, dtype, layer) if text != NOTHING)
    detail = Text(f"{facts}{' ' * GAP if roles else ''}", overflow="fold").append_text(_roles(roles))
    return Text(name, style="bold", overflow="fold"), Padding(detail, (0, 0, 0, GAP), expand=False)


def _roles(roles: str) -> Text:
    text = Text(overflow="fold")
    for role in roles.split(" "):
        text.append(f"{' ' if text else ''}{role}", style=ROLE_STYLES.get(role[1:], ""))
    return text


def _spaced(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    parts: list[str] = []
    for head, cell, width in zip(HEADS, cells, widths, strict=False):
        space = " " * (width - cell_len(cell))
        parts += [" " * GAP if parts else "", space + cell if head == "shape" else cell + space]
    return parts


def _facts(inventory: Inventory) -> Iterator[tuple[str, str]]:
    tensors = inventory.tensors
    total = sum(info.numel for info in tensors)
    origin = f" ({inventory.origin})" if inventory.origin else ""
    yield "model", f"{inventory.label}{origin}"
    yield "size", f"{counted(total, 'parameter')} in {counted(len(tensors), 'tensor')}"
    for stack in inventory.stacks:
        if stack.main:
            why = f": {'; '.join(stack.evidence)}" if stack.evidence else ""
            yield "layers", f"{counted(stack.length, 'layer')} in {stack.path or 'the root'}{why}"
    for note in inventory.notes:
        yield "note", note


def _add(tree: Tree, node: Folded) -> None:
    for child in node.children:
        _add(tree.add(_label(child, child.name)), child)


def _label(node: Folded, name: str) -> Text:
    style = next((ROLE_STYLES[role] for role in node.roles if role in ROLE_STYLES), "")
    text = Text(visible(name, keep=""), style=style, overflow="fold")
    what = format_shape(node.shape) if node.shape is not None else node.kind
    if what:
        text.append(f"  {visible(what, keep='')}", style="dim")
    if node.shape is None and node.numel:
        each = " each" if node.count > 1 else ""
        text.append(f"  {format_count(node.numel)}{each}", style="dim")
    if node.tied:
        text.append(f"  = {visible(node.tied, keep='')}", style="dim")
    for role in node.roles:
        text.append(f"  @{role}", style=ROLE_STYLES.get(role, ""))
    return text
