"""What a probe's pass over the data costs beside one plain forward pass over the same batches, in CPU seconds.

``python -m benchmarks.probing SPEC`` prints both, the least of three rounds in turn, their ratio, and the
time of the fits.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from freezeplan.choose.features import extracted
from freezeplan.choose.probing import probe, without_test
from freezeplan.prefix.examples import Examples, rows_at_once
from freezeplan.spec.reading import load_spec
from freezeplan.train.forward import EncodedSplit
from freezeplan.train.setup import Setup, prepare

ROUNDS = 3


def main(path: str) -> None:
    """Print the costs of a probe of one spec."""
    spec = without_test(load_spec(Path(path)))
    setup = prepare(spec)
    splits = [split for name in ("train", "validation") for split in setup.data[name].values()]
    plain = seconds(lambda: run_plainly(setup, splits))
    watching = seconds(lambda: extracted(setup, splits, splits[0].kind.reads_words, lambda done, of: None))
    for _ in range(ROUNDS - 1):
        plain = min(plain, seconds(lambda: run_plainly(setup, splits)))
        watching = min(
            watching,
            seconds(lambda: extracted(setup, splits, splits[0].kind.reads_words, lambda done, of: None)),
        )
    print(
        f"one forward pass: {plain:.2f} CPU s; the probe's pass: {watching:.2f}; ratio {watching / plain:.3f}"
    )
    cost = probe(spec).cost
    print(f"inside `probe`: {cost.extraction_cpu_seconds:.2f} CPU s, and fits {cost.fitting_cpu_seconds:.2f}")


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
    main(sys.argv[1])
