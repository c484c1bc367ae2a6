#!/usr/bin/env bash
# Library:   pytorch-crf 0.7.2, with torch 2.13.0
# Behaviour: a mask may only end a sequence. One with holes, as for words of which only the first token counts, is
#            taken without a word: decode() reads the first n steps back instead of the n that are marked, and the
#            likelihood takes its transitions from the tags that are masked out.
# Seen:      emissions that name the tags 0 1 2 1 at the marked steps, transitions 0: decoded 0 0 1 1; without the
#            masked steps 0 1 2 1
#            the likelihood of the marked tags: -10.0 or -15.0, by the tag that the masked steps are filled with
# Hurts:     a tagger with a CRF on word pieces is trained on tags that nobody gave and predicts for the wrong words.
#            Only the first step is checked to be on. Take the marked steps out before the CRF.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0 numpy==2.4.6
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps pytorch-crf==0.7.2

venv/bin/python -W ignore - <<'PY'
import sys

import torch
from torchcrf import CRF

mask = torch.tensor([[True, False, True, True, False, True]])
crf = CRF(3, batch_first=True)
for parameter in crf.parameters():
    torch.nn.init.zeros_(parameter)
emissions = 10.0 * torch.nn.functional.one_hot(torch.tensor([[0, 1, 1, 2, 0, 1]]), 3)
holes = crf.decode(emissions, mask=mask)[0]
without = crf.decode(emissions[mask][None])[0]
print("decoded with the mask:", holes)
print("decoded without the masked steps:", without)

crf.transitions.data = torch.tensor([[0.0, 5, 0], [0, 0, 5], [5, 0, 0]])
likelihoods = []
for filled in range(3):
    tags = torch.tensor([[0, filled, 1, 2, filled, 0]])
    likelihoods.append(round(crf(emissions, tags, mask=mask).item(), 1))
print("likelihood by the tag of the masked steps:", likelihoods)
same = (holes, without) == ([0, 0, 1, 1], [0, 1, 2, 1]) and likelihoods[0] != likelihoods[1]
sys.exit(None if same else "the behaviour has changed")
PY
