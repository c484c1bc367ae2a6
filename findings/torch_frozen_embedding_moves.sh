#!/usr/bin/env bash
# Library:   torch 2.13.0, torch.nn.Embedding(max_norm=...)
# Behaviour: the lookup itself shortens the rows that are longer than max_norm, in the stored weight. It does so
#            for a frozen weight as well, in eval mode and in inference mode: reading an embedding writes to it.
# Seen:      frozen, eval, inference mode: row 1 goes from 5.0 to 0.577 by one lookup of row 1
# Hurts:     a frozen layer that must stay as it was pretrained changes on the first batch, evaluation too, and by
#            the rows that are met: two runs that see other batches part, and checks before and after disagree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet numpy==2.4.6

venv/bin/python - <<'PY'
import sys

import torch

embedding = torch.nn.Embedding(3, 3, max_norm=1.0)
embedding.weight.data.fill_(5.0)
embedding.requires_grad_(False)
embedding.eval()
with torch.inference_mode():
    embedding(torch.tensor([1]))
seen = [round(row[0].item(), 3) for row in embedding.weight]
print("first numbers of rows 0, 1, 2 after a lookup of row 1:", seen)
sys.exit(None if seen == [5.0, 0.577, 5.0] else "the behaviour has changed")
PY
