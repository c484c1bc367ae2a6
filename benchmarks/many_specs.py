"""Measure what a process costs: many specs checked by one, against a process for each.

``python -m benchmarks.many_specs [COUNT]`` writes COUNT (1,000) different specs over one model, checks them all by one
``freezeplan check``, and twenty of them each by one of its own, whose time it multiplies. It prints CPU seconds of both
and their ratio.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ALONE = 20
SPEC = """[model]
architecture = "distilbert"

[optimizer]
lr = {rate}

[[rule]]
match = "**"
state = "frozen"

[[rule]]
match = "@layers[-{layers}:]"
state = "trainable"
"""


def write_specs(folder: Path, count: int) -> list[str]:
    """Write specs that differ in their rate and in what trains; returns their names."""
    names = [f"spec_{number}.toml" for number in range(count)]
    for number, name in enumerate(names):
        text = SPEC.format(rate=f"{1 + number}e-7", layers=1 + number % 6)
        (folder / name).write_text(text, "utf-8")
    return names


def cpu_seconds(folder: Path, names: list[str]) -> float:
    """Return the CPU seconds of one ``freezeplan check`` of specs, all of which must compile."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "FREEZEPLAN_CACHE_DIR": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "freezeplan", "--diagnostics", "json", "check", *names]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print both times and their ratio."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = write_specs(folder, count)
        cpu_seconds(folder, names[:1])  # fills the cache, for both sides
        together = cpu_seconds(folder, names)
        alone = sum(cpu_seconds(folder, [name]) for name in names[:ALONE]) * count / ALONE
    print(f"{count:,} specs in one process: {together:.1f} s of CPU, {1000 * together / count:.1f} ms each")
    print(f"{count:,} specs in {count:,} processes: {alone:.1f} s of CPU, {1000 * alone / count:.1f} ms each")
    print(f"ratio: 1/{alone / together:.1f}")


if __name__ == "__main__":
    main()
