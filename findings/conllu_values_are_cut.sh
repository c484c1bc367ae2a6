#!/usr/bin/env bash
# Library:   conllu 6.0.0
# Behaviour: a value in FEATS or MISC is cut at its second "=", of two values under one key the last stays, and
#            comments that are neither "key = value" nor newdoc or newpar are dropped. serialize() then writes what is
#            left.
# Seen:      MISC Gloss=a=b|Ref=1|Ref=2 comes back as Gloss=a|Ref=2
#            the comment "# checked by hand" is gone
# Hurts:     a treebank that is read, filtered and written again has lost annotations, and nothing is reported.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet conllu==6.0.0

venv/bin/python - <<'PY'
import sys

import conllu

TEXT = "# sent_id = 1\n# checked by hand\n1\tword\tword\tNOUN\t_\t_\t0\troot\t_\tGloss=a=b|Ref=1|Ref=2\n\n"
written = conllu.parse(TEXT)[0].serialize()
print("read:", *TEXT.splitlines(), sep="\n    ")
print("written:", *written.splitlines(), sep="\n    ")
right = TEXT.replace("# checked by hand\n", "").replace("Gloss=a=b|Ref=1|Ref=2", "Gloss=a|Ref=2")
sys.exit(None if written == right else "the behaviour has changed")
PY
