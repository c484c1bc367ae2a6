"""What a probe's pass over the data costs beside one plain forward pass over the same batches, in CPU seconds.

``python -m benchmarks.probing SPEC`` prints both, the least of three rounds in turn, their ratio, and the time of the
fits. ``--set NAME …`` in place of a spec takes public sets, cut as for ``benchmarks.choosing``, and prints besides how
far the probe ranks strategies as the grid does that is kept there: Spearman's correlation over the strategies.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402

from benchmarks.choosing import REFERENCE, spearman  # noqa: E402
from benchmarks.cut_sets import SETS, cut_spec  # noqa: E402
from benchmarks.timing import at_most, set_one_thread  # noqa: E402
from freezeplan.choose.features import extracted  # noqa: E402
from freezeplan.choose.probe_records import ProbeReport  # noqa: E402
from freezeplan.choose.probing import probe, without_test  # noqa: E402
from freezeplan.prefix.examples import Examples, rows_at_once  # noqa: E402
from freezeplan.spec.reading import load_spec  # noqa: E402
from freezeplan.spec.tables import Spec  # noqa: E402
from freezeplan.train.forward import EncodedSplit  # noqa: E402
from freezeplan.train.setup import Setup, prepare  # noqa: E402

ROUNDS, TARGET = 3, 1.3


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the costs of a probe of one spec, or of some sets, with what the probe is worth there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probing", description=__doc__)
    parser.add_argument("spec", nargs="?", type=Path)
    parser.add_argument("--set", choices=SETS, action="append", help="a set; repeatable (default: all)")
    options = parser.parse_args(arguments)
    set_one_thread()
    if options.spec is not None:
        measure(load_spec(options.spec))
        return 0
    known = json.loads(REFERENCE.read_text("utf-8"))
    for name in options.set or SETS:
        with tempfile.TemporaryDirectory() as place:
            print(name, known[name]["sizes"], flush=True)
            found = measure(cut_spec(name, *known[name]["sizes"].values(), Path(place)))
            value = spearman(found.to_record(), known[name]["table"])
            print(f"    Spearman of the probe and the grid: {value:.2f}", flush=True)
    return 0


def measure(given: Spec) -> ProbeReport:
    """Print what a probe of a spec costs; return what it found."""
    spec = without_test(given)
    setup = prepare(spec)
    splits = [split for name in ("train", "validation") for split in setup.data[name].values()]

    def watching() -> object:
        return extracted(setup, splits, splits[0].kind.reads_words, lambda done, of: None)

    rounds = [(seconds(lambda: run_plainly(setup, splits)), seconds(watching)) for _ in range(ROUNDS)]
    plain, watched = (min(times) for times in zip(*rounds, strict=True))
    print(f"    one forward pass: {plain:.2f} CPU s; the probe's pass: {watched:.2f}")
    print(f"    {at_most(watched / plain, TARGET)}")
    found = probe(spec)
    cost = found.cost
    print(f"    in `probe`: {cost.extraction_cpu_seconds:.2f} CPU s, and fits {cost.fitting_cpu_seconds:.2f}")
    return found


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds that some work takes in this process."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def run_plainly(setup: Setup, splits: list[EncodedSplit]) -> None:
    """Run the distinct inputs through the backbone, in the same batches, and keep nothing."""
    inputs = {split.name: split.inputs for split in splits}
    device = setup.device
    setup.model.eval()
    with torch.no_grad():
        for source, rows in Examples(inputs).batches(rows_at_once(device.type, 128)):
            setup.model.vectors(**setup.encoder.batch(inputs[source], rows, device))


if __name__ == "__main__":
    raise SystemExit(main())
