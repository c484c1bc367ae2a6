#!/usr/bin/env bash
# Library:   safetensors 0.8.0, safetensors.numpy
# Behaviour: save writes the bytes of a NumPy array as they lie in memory, and the shape beside them, but not the
#            order of the axes. A transposed array, or one in Fortran order, is read back with its numbers in
#            other places. safetensors.torch refuses a tensor that is not contiguous; here nothing is said.
# Seen:      [[0, 1, 2], [3, 4, 5]] in Fortran order -> [[0, 3, 1], [4, 2, 5]]
#            its transpose [[0, 3], [1, 4], [2, 5]]  -> [[0, 1], [2, 3], [4, 5]]
# Hurts:     converters from other frameworks transpose kernels, and linear algebra routines return Fortran order:
#            the converted checkpoint has the right names, shapes and statistics, and scrambled weights.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet numpy==2.4.6 safetensors==0.8.0

venv/bin/python - <<'PY'
import sys

import numpy
from safetensors.numpy import load, save

rows = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
given = {"rows": rows, "fortran": numpy.asfortranarray(rows), "transposed": rows.T}
read = {name: load(save({name: array}))[name] for name, array in given.items()}
for name, array in given.items():
    print(f"{name}: saved {array.tolist()}, loaded {read[name].tolist()}")
seen = {name: numpy.array_equal(array, read[name]) for name, array in given.items()}
sys.exit(None if seen == {"rows": True, "fortran": False, "transposed": False} else "the behaviour has changed")
PY
