#!/usr/bin/env bash
# Library:   safetensors 0.8.0, safetensors.torch, with torch 2.13.0
# Behaviour: torch conjugates a complex tensor, and negates the imaginary part of such a tensor, by a mark on it;
#            the bytes stay as they were. save writes the bytes and forgets the mark, so the conjugate is read
#            back as the number itself, and the negated part with the other sign.
# Seen:      conj(1+2j) = 1-2j -> 1+2j; imag(conj(1+2j)) = -2 -> 2; after resolve_conj() 1-2j is kept
# Hurts:     tables of complex rotary positions and spectral filters that are saved with a checkpoint turn the
#            other way after loading. The tensor is contiguous, and equal to the right one before it is saved.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet numpy==2.4.6 safetensors==0.8.0

venv/bin/python - <<'PY'
import sys

import torch
from safetensors.torch import load, save

number = torch.tensor([1 + 2j])
given = {
    "conjugate": number.conj(),
    "its imaginary part": number.conj().imag,
    "conjugate, resolved": number.conj().resolve_conj(),
}
seen = {}
for name, tensor in given.items():
    read = load(save({"tensor": tensor}))["tensor"]
    seen[name] = torch.equal(read, tensor)
    print(f"{name}: saved {tensor.tolist()}, loaded {read.tolist()}")
kept = {"conjugate": False, "its imaginary part": False, "conjugate, resolved": True}
sys.exit(None if seen == kept else "the behaviour has changed")
PY
