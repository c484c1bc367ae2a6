"""One row of the atlas: the structure found in a model type, and what each preset gives on it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from benchmarks.building import TookTooLong, base_inventory, within
from benchmarks.every_type import Entry, entry_of
from benchmarks.presets import Outcome, outcome_of
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.spec.extends import preset_names

SECONDS = 120


@dataclass(frozen=True)
class Row:
    """What was found in one type; without ``outcomes`` where it does not build, and ``entry`` says why."""

    entry: Entry
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def wrong(self) -> list[str]:
        """Each broken law, and each preset whose outcome is wrong, in words."""
        laws = [f"{law}: {places[0]}" for law, places in self.entry.broken.items()]
        cells = [(name, cell) for name, cell in self.outcomes.items() if cell.verdict == "wrong"]
        return [*laws, *(f"{name}: {' '.join(cell.codes)} {cell.message}" for name, cell in cells)]

    @property
    def needs_library(self) -> bool:
        """Whether the type does not build for want of a library."""
        return "requires the" in self.entry.error and "library" in self.entry.error


def row_of(model_type: str) -> Row:
    """Build one type once, and compile every preset on it; a traceback is wrong."""
    try:
        found = within(SECONDS, lambda: base_inventory(model_type))
    except DiagnosticError as error:
        return Row(Entry(model_type, "", error.diagnostics[0].message))
    except TookTooLong:
        return Row(Entry(model_type, "", f"took longer than {SECONDS} s"))
    except Exception as error:  # noqa: BLE001 - a traceback is what this looks for
        said = f"{type(error).__name__}: {error}"
        return Row(Entry(model_type, "", said, broken={"no traceback": [said]}))
    return Row(_entry(model_type, found), {name: outcome_of(name, found) for name in preset_names()})


def _entry(model_type: str, found: Inventory) -> Entry:
    """Describe the base model: its class, and its stacks by their paths in it."""
    class_name = next(info.classes[0] for info in found.modules if info.path == found.base)
    entry = entry_of(model_type, class_name, found)
    return replace(entry, stacks=[text.removeprefix(f"{found.base}.") for text in entry.stacks])
