"""The chosen candidate as a spec of one's own, with what it rests on as comments."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import tomli_w

from freezeplan.choose.comparison_records import StrategyComparison
from freezeplan.choose.comparison_view import verdict_lines
from freezeplan.choose.strategies import FEATURES, from_run
from freezeplan.choose.trials import run_name
from freezeplan.render.visible import visible
from freezeplan.runs.spec_file import spec_text
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec


def chosen_text(spec: Spec, found: StrategyComparison, folder: Path, path: Path) -> str:
    """Return the spec of the chosen candidate for the file at ``path``, commented.

    Its data are those of ``spec``, test data included. A candidate whose heads began with linear probes has the run
    that holds them as its source, and the comment says what that stands for.
    """
    verdict = found.verdict
    assert verdict is not None
    chosen = next(item for item in found.candidates if item.name == verdict.chosen)
    place = Path(os.path.abspath(path)).parent
    values = tomllib.loads(spec_text(load_spec(folder / chosen.spec), place))
    own = tomllib.loads(spec_text(spec, place))
    values["task"] = own["task"]
    lines = [f"{chosen.name}: {chosen.words}.", f"Chosen by `freezeplan compare`, on {found.model}:"]
    lines += [f"(after {found.last_rung} of {found.epochs} epochs)"] if found.last_rung < found.epochs else []
    lines += list(verdict_lines(found))[:-1]
    if chosen.warm:
        run = folder / run_name(FEATURES, spec.train.seed)
        values["model"] = from_run(values["model"], _seen_from(place, run))
        source = own.get("model", {}).get("source", "the model of before")
        lines.append(
            f"The source holds linear probes as heads; with {source} in its place they begin at random."
        )
    comment = "".join(f"# {visible(line, keep='')}\n" for line in lines)
    return f"{comment}\n{tomli_w.dumps(values)}"


def _seen_from(place: Path, run: Path) -> str:
    found = Path(os.path.relpath(os.path.realpath(run), os.path.realpath(place))).as_posix()
    return found if found.startswith(".") else f"./{found}"
