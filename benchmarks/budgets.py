"""What `compare` was allowed and what it used, in seconds and in bytes, over several budgets.

``python -m benchmarks.budgets [--set NAME] [--rows N] [--seconds S …] [--mib M …]`` compares on a public set in each
budget, in a folder of its own, and prints seconds of training asked for and used, the largest step's memory allowed and
predicted of what ran, and what was left out for it. The probe that comes before the trials is not part of the time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from benchmarks.cut_sets import SETS, cut_spec  # noqa: E402
from benchmarks.timing import set_one_thread  # noqa: E402
from freezeplan.choose.comparing import Limits, compare  # noqa: E402
from freezeplan.choose.comparison_records import StrategyComparison  # noqa: E402
from freezeplan.choose.strategies import FEATURES  # noqa: E402
from freezeplan.diagnostics.wording import format_bytes  # noqa: E402
from freezeplan.spec.tables import Spec  # noqa: E402

MIB = 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare within each budget and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budgets", description=__doc__)
    parser.add_argument("--set", choices=SETS, default="snips")
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--seconds", type=float, nargs="*", default=[2.0, 8.0, 30.0])
    parser.add_argument("--mib", type=int, nargs="*", default=[200, 400])
    options = parser.parse_args(arguments)
    set_one_thread()
    limits = [Limits(seconds=item) for item in options.seconds]
    limits += [Limits(bytes=item * MIB) for item in options.mib]
    with tempfile.TemporaryDirectory(prefix="freezeplan-budgets-") as place:
        spec = cut_spec(options.set, options.rows, 64, 3, Path(place))
        for number, limit in enumerate(limits):
            print(_line(spec, limit, Path(place) / str(number)), flush=True)
    return 0


def _line(spec: Spec, limit: Limits, folder: Path) -> str:
    found = compare(spec, folder, (), limit)
    assert found.verdict is not None
    tried = [trial for trial in found.trials if trial.candidate != FEATURES]
    used = sum(trial.seconds for trial in tried)
    asked = (
        f"{limit.seconds:g} s" if limit.seconds is not None else f"{format_bytes(limit.bytes or 0)} a step"
    )
    took = f"{used:.1f} s for {len(tried)} trials, chose {found.verdict.chosen}"
    return f"asked {asked}: used {took}{_memory(found, limit)}; left out: {_left_out(found) or 'nothing'}"


def _memory(found: StrategyComparison, limit: Limits) -> str:
    if limit.bytes is None:
        return ""
    ran = {trial.candidate for trial in found.trials}
    largest = max((item.peak_bytes for item in found.candidates if item.name in ran), default=0)
    return f", the largest step {format_bytes(largest)} (predicted)"


def _left_out(found: StrategyComparison) -> str:
    return ", ".join(item.name for item in found.candidates if item.left_out and not item.untried)


if __name__ == "__main__":
    raise SystemExit(main())
