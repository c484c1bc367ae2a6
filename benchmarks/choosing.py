"""Hold what `compare` chooses against the whole grid, and its CPU seconds against runs of all strategies.

``python -m benchmarks.choosing [--set NAME …] [--rows N] [--write]`` takes seven strategies (heads, top 1,
2 and 4, gradual, LP-FT, all) of the packaged MiniLM on six public tasks. Per set it trains each of them to its end in a
run of its own that shares nothing (the grid), measures some steps of transformers' Trainer with each freeze, and
compares. It prints the grid's scores, what was chosen, how far that is from the grid's best on the same validation
rows, the CPU seconds of all sides, and the rank correlation of the probe with the grid. ``--write`` keeps the grid and
the Trainer's seconds in ``benchmarks/choosing_reference.json``; a set that is there with equal sizes is read from it,
unless ``--again``; ``--trainer`` measures the Trainer anew.

The Trainer's runs are extrapolated from a few steps each, ``--steps`` of them without the first, plus one evaluation
per run: importing, loading, tokenising and its start are not counted. Of ours everything from reading the data on is.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from benchmarks.choosing_trainer import TrainerSeconds  # noqa: E402
from benchmarks.cut_sets import SETS, cut_spec  # noqa: E402
from benchmarks.timing import at_most, set_one_thread  # noqa: E402
from freezeplan.choose.comparing import Limits, compare  # noqa: E402
from freezeplan.choose.comparison_files import read_outcomes  # noqa: E402
from freezeplan.choose.comparison_records import StrategyComparison  # noqa: E402
from freezeplan.choose.judging import Contender, best_of, difference  # noqa: E402
from freezeplan.choose.strategies import FEATURES  # noqa: E402
from freezeplan.choose.trials import advance  # noqa: E402
from freezeplan.models.sources import inventory_for  # noqa: E402
from freezeplan.plan import compile_plan  # noqa: E402
from freezeplan.runs.events import ignore_events  # noqa: E402
from freezeplan.spec.reading import load_spec  # noqa: E402

REFERENCE = Path(__file__).with_name("choosing_reference.json")
SEVEN = ("heads", "top1", "top2", "top4", "gradual", "lp_ft", "all")
NAMES = (FEATURES, *SEVEN)
OF_TRAINER, OF_OURS = 0.25, 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sets and print what came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.choosing", description=__doc__)
    parser.add_argument("--set", choices=SETS, action="append", help="a set; repeatable (default: all six)")
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--validation", type=int, default=150)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=6, help="steps of the Trainer per freeze, the first not counted"
    )
    parser.add_argument("--write", action="store_true", help="keep the grid in the reference file")
    parser.add_argument("--again", action="store_true", help="run the grid although it is there")
    parser.add_argument("--trainer", action="store_true", help="measure the Trainer although it is there")
    options = parser.parse_args(arguments)
    set_one_thread()
    found = []
    for name in options.set or SETS:
        with tempfile.TemporaryDirectory(prefix="freezeplan-choosing-") as place:
            found.append(_set(name, options, Path(place)))
    if len(found) > 1:
        print(*_summary(found), sep="\n")
    return 0


def _set(name: str, options: argparse.Namespace, place: Path) -> dict[str, Any]:
    sizes = {"rows": options.rows, "validation": options.validation, "epochs": options.epochs}
    spec = cut_spec(name, *sizes.values(), place)
    begun = time.process_time()
    found = compare(spec, place / "compared", NAMES, Limits())
    seconds = time.process_time() - begun
    known = _read().get(name, {})
    if options.again or known.get("sizes") != sizes:
        known = {"sizes": sizes, **_grid(found, place, options.steps)}
        _keep(name, known, options)
    elif options.trainer:
        for strategy, took in _trainer_seconds(found, place, options.steps).items():
            known["table"][strategy]["trainer_cpu_seconds"] = took
        _keep(name, known, options)
    probe = json.loads((place / "compared" / "probe.json").read_text("utf-8"))
    assert found.verdict is not None
    tried = {row.candidate: row.score for row in found.verdict.rows}
    result = {
        "grid": known,
        "chosen": found.verdict.chosen,
        "tried": tried,
        "seconds": seconds,
        "spearman": spearman(probe, known["table"]),
    }
    print(*_lines(name, result), sep="\n", flush=True)
    return result


def _keep(name: str, known: dict[str, Any], options: argparse.Namespace) -> None:
    if options.write:
        REFERENCE.write_text(json.dumps({**_read(), name: known}, indent=1) + "\n", "utf-8")


def _read() -> dict[str, Any]:
    return json.loads(REFERENCE.read_text("utf-8")) if REFERENCE.exists() else {}


def _grid(found: StrategyComparison, place: Path, steps: int) -> dict[str, Any]:
    """Train all strategies to their ends; return their scores and seconds, and the Trainer's."""
    items = {item.name: item for item in found.candidates}
    trainer, held, table = _trainer_seconds(found, place, steps), {}, {}
    for name in NAMES:
        begun = time.process_time()
        outcomes = _outcomes(found, place, name, place / "compared" / items[name].spec)
        ours = time.process_time() - begun
        held[name] = Contender(name, {1: outcomes}, items[name].flops, 0.0, 0.0, 0, 0, 0, True)
        table[name] = {"cpu_seconds": round(ours, 2), "trainer_cpu_seconds": trainer[name]}
    best = best_of(list(held.values()))
    for name, item in held.items():
        short, error = difference(best, item)
        numbers = {"score": item.score, "error": item.error, "short": short, "short_error": error}
        table[name] |= {key: round(value, 5) for key, value in numbers.items()}
    return {"best": best.name, "table": table}


def _trainer_seconds(found: StrategyComparison, place: Path, steps: int) -> dict[str, float]:
    """Return what a whole run of the Trainer takes for each strategy, with one evaluation at its end."""
    specs = {item.name: place / "compared" / item.spec for item in found.candidates}
    theirs = TrainerSeconds(specs["all"], set_one_thread(), steps)
    evaluation, told = theirs.evaluation(), {FEATURES: 0.0}
    for name in SEVEN:
        spec = load_spec(specs[name])
        told[name] = round(theirs.of_run(compile_plan(inventory_for(spec), spec)) + evaluation, 2)
    return told


def _outcomes(found: StrategyComparison, place: Path, name: str, spec: Path) -> dict[str, Any]:
    if name == FEATURES:
        return read_outcomes(place / "compared", found.trials[0])
    return dict(advance(spec, place / "grid" / name, found.epochs, ignore_events).outcomes)


def _lines(name: str, result: dict[str, Any]) -> list[str]:
    table, chosen = result["grid"]["table"], result["chosen"]
    row = table[chosen]
    within = "within" if row["short"] <= row["short_error"] else "NOT within"
    rows = [
        f"    {item:10}{found['score']:.3f} ± {found['error']:.3f}   short {found['short']:.3f} ± "
        f"{found['short_error']:.3f}   {found['cpu_seconds']:6.1f} s   Trainer {found['trainer_cpu_seconds']:6.1f} s"
        + (f"   in a trial {result['tried'][item]:.3f}" if item in result["tried"] else "")
        for item, found in table.items()
    ]
    return [
        f"{name}: {result['grid']['sizes']}, best of the grid {result['grid']['best']}",
        *rows,
        f"    chose {chosen}, {row['short']:.3f} ± {row['short_error']:.3f} short: {within} one standard error",
        f"    compare: {result['seconds']:.1f} CPU s; of seven runs of ours "
        f"{at_most(result['seconds'] / _total(result, 'cpu_seconds'), OF_OURS)}",
        f"    of seven runs of the Trainer {at_most(_of_trainer(result), OF_TRAINER)}",
        f"    Spearman of the probe below what trains, and the grid: {result['spearman']:.2f}",
    ]


def _total(result: dict[str, Any], key: str) -> float:
    return sum(result["grid"]["table"][name][key] for name in SEVEN)


def _of_trainer(result: dict[str, Any]) -> float:
    return result["seconds"] / _total(result, "trainer_cpu_seconds")


def spearman(probe: dict[str, Any], table: dict[str, Any]) -> float:
    """Return the rank correlation of two scores of the strategies that freeze a prefix: the probe's and the grid's.

    The probe's is that of the deepest features that stay as they are.
    """
    from scipy.stats import spearmanr

    depths = probe["tasks"][0]["depths"]
    last = len(depths) - 1
    frozen = {"heads": last, "top1": last - 1, "top2": last - 2, "top4": last - 4, "lp_ft": 0}
    pairs = [(depths[depth]["score"], table[name]["score"]) for name, depth in frozen.items()]
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def _summary(found: Sequence[dict[str, Any]]) -> list[str]:
    rows = [item["grid"]["table"][item["chosen"]] for item in found]
    within = sum(row["short"] <= row["short_error"] for row in rows)
    seconds = sum(item["seconds"] for item in found)
    ours, theirs = (
        sum(_total(item, key) for item in found) for key in ("cpu_seconds", "trainer_cpu_seconds")
    )
    return [
        f"within one standard error of the grid's best: {within} of {len(found)}",
        f"of all runs of ours {at_most(seconds / ours, OF_OURS)}",
        f"of all runs of the Trainer {at_most(seconds / theirs, OF_TRAINER)}",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
