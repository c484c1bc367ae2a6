#!/usr/bin/env bash
# Library:   pyconll 3.3.1
# Behaviour: values in MISC are free text, but are read as sets that commas separate, and written sorted. Of two values
#            under one key the last stays.
# Seen:      MISC Gloss=to be, not to be|Lang=fr,en,fr|Ref=1|Ref=2 comes back as Gloss= not to be,to be|Lang=en,fr|Ref=2
# Hurts:     a treebank that is read and written again has other glosses and translations, and nothing is reported.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet pyconll==3.3.1

venv/bin/python - <<'PY'
import sys

import pyconll

MISC = "Gloss=to be, not to be|Lang=fr,en,fr|Ref=1|Ref=2"
written = pyconll.load_from_string(f"1\tword\tword\tNOUN\t_\t_\t0\troot\t_\t{MISC}\n\n").conll().split("\t")[-1].strip()
print("read:   ", MISC)
print("written:", written)
sys.exit(None if written == "Gloss= not to be,to be|Lang=en,fr|Ref=2" else "the behaviour has changed")
PY
