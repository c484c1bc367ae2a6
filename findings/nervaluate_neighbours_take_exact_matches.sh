#!/usr/bin/env bash
# Library:   nervaluate 1.2.1, loader="dict"
# Behaviour: "end" is taken for the last place inside of a span, where Prodigy, spaCy and others mean the first one
#            after it, and the page of the package does not say. A span that only touches a true one overlaps it, and
#            when it comes first, it uses it up: the exact match behind it is spurious then.
# Seen:      true LOC 5-9; predicted PER 0-5 and LOC 5-9: strict F1 0, with 0 correct, 1 incorrect, 1 spurious.
#            Predicted in the other order, or PER as 0-4: F1 0.667, with 1 correct and 1 spurious
# Hurts:     entities side by side, as in scripts without blanks or in "km/h", are scored as misses although they are
#            found, and the score of the same predictions depends on their order.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet nervaluate==1.2.1

venv/bin/python - <<'PY'
import sys

from nervaluate import Evaluator


def span(label, start, end):
    return {"label": label, "start": start, "end": end}


def strict(*predicted):
    evaluator = Evaluator([[span("LOC", 5, 9)]], [list(predicted)], tags=["LOC", "PER"], loader="dict")
    result = evaluator.evaluate()["overall"]["strict"]
    return result.correct, result.incorrect, result.missed, result.spurious, round(result.f1, 3)


found = span("LOC", 5, 9)
seen = {
    "PER 0-5, LOC 5-9": strict(span("PER", 0, 5), found),
    "LOC 5-9, PER 0-5": strict(found, span("PER", 0, 5)),
    "PER 0-4, LOC 5-9": strict(span("PER", 0, 4), found),
}
for name, counts in seen.items():
    print(f"{name}: correct, incorrect, missed, spurious, F1: {counts}")
right = (1, 0, 0, 1, 0.667)
sys.exit(None if list(seen.values()) == [(0, 1, 0, 1, 0), right, right] else "the behaviour has changed")
PY
