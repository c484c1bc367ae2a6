#!/usr/bin/env bash
# Library:   huggingface_hub 2.4.0, ModelHubMixin (and PyTorchModelHubMixin with torch 2.13.0)
# Behaviour: for arguments of the constructor that JSON does not know, config.json gets the default in place of the
#            value, without a word, and from_pretrained builds the model with it. Whole numbers and float32 of NumPy are
#            among them, alone and inside of a list; its float64, a float of Python, is kept.
# Seen:      constructed with heads=numpy.int64(4), dropout=numpy.float64(0.5), widths=[numpy.int64(16)]: config.json
#            and the loaded model have heads 1 and widths [8], which are the defaults, and the dropout 0.5
# Hurts:     a model whose arguments come from a search over numpy.arange is another one on loading; where the weights
#            have the same shapes, as with heads of attention, they load and answer differently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    huggingface_hub==2.4.0 Jinja2==3.1.6 numpy==2.4.6

HF_HUB_OFFLINE=1 venv/bin/python -W error - <<'PY'
import json
import sys
from pathlib import Path

import numpy
from huggingface_hub import ModelHubMixin


class Model(ModelHubMixin):
    def __init__(self, heads=1, dropout=0.1, widths=(8,)):
        self.built = [int(heads), float(dropout), [int(width) for width in widths]]

    def _save_pretrained(self, save_directory):
        (Path(save_directory) / "weights").touch()

    @classmethod
    def _from_pretrained(cls, *, model_id, heads=1, dropout=0.1, widths=(8,), **_):
        return cls(heads=heads, dropout=dropout, widths=widths)


def loaded(**arguments):
    model = Model(**arguments)
    model.save_pretrained("model")
    return model.built, json.loads(Path("model/config.json").read_text()), Model.from_pretrained("model").built


plain = loaded(heads=4, dropout=0.5, widths=[16])
numbers = loaded(heads=numpy.int64(4), dropout=numpy.float64(0.5), widths=[numpy.int64(16)])
for name, (built, config, back) in {"Python": plain, "NumPy": numbers}.items():
    print(f"{name}: built {built}, config.json {config}, loaded {back}")
same = plain[0] == plain[2] == numbers[0] == [4, 0.5, [16]] and numbers[2] == [1, 0.5, [8]]
sys.exit(None if same else "the behaviour has changed")
PY
