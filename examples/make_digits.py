"""Write scikit-learn's digits (1,797 grey images of 8 x 8) as JSON lines, for examples/digits_vit.toml.

python examples/make_digits.py runs/digits
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from sklearn.datasets import load_digits

SPLITS = {"test": slice(0, 360), "validation": slice(360, 540), "train": slice(540, None)}


def main(folder: Path) -> None:
    """Write ``train``, ``validation`` and ``test`` (1,257, 180 and 360 rows, shuffled) into a folder."""
    digits = load_digits()
    rows = [
        # scikit-learn counts ink from 0 to 16; pixels go from 0 to 255.
        {
            "image": (image * 255 / 16).round().astype(int).tolist(),
            "digit": int(digit),
            "parity": PARITY[digit % 2],
        }
        for image, digit in zip(digits.images, digits.target, strict=True)
    ]
    random.Random(0).shuffle(rows)
    folder.mkdir(parents=True, exist_ok=True)
    for split, part in SPLITS.items():
        lines = (json.dumps(row) + "\n" for row in rows[part])
        (folder / f"{split}.jsonl").write_text("".join(lines), "utf-8")


PARITY = ("even", "odd")

if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/digits"))
