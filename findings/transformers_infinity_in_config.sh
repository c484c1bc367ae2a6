#!/usr/bin/env bash
# Library:   transformers 5.23.0
# Behaviour: a number that JSON cannot hold is written into config.json as an object: {"__float__": "Infinity"}. The
#            library itself reads it back as a number; everything else that reads the file meets an object where
#            the field is a number.
# Seen:      Mamba2's time_step_limit: [0.0, {"__float__": "Infinity"}] in the file, [0.0, inf] from from_pretrained
# Hurts:     converters, inference servers and checks that read config.json fail on it or compare it as
#            different, for models whose default configuration has an infinite limit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    huggingface_hub==2.4.0 numpy==2.4.6 tokenizers==0.23.3 transformers==5.23.0

HF_HUB_OFFLINE=1 venv/bin/python - <<'PY'
import json
import sys

from transformers import Mamba2Config

Mamba2Config().save_pretrained("model")
with open("model/config.json") as file:
    written = json.load(file)["time_step_limit"]
read = Mamba2Config.from_pretrained("model").time_step_limit
print("in config.json:", written)
print("by from_pretrained:", read)
same = written == [0.0, {"__float__": "Infinity"}] and list(read) == [0.0, float("inf")]
sys.exit(None if same else "the behaviour has changed")
PY
