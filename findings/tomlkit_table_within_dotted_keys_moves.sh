#!/usr/bin/env bash
# Library:   tomlkit 0.15.2
# Behaviour: a table that is set inside of a dotted key is written as a header where it stands, by the dotted name
#            alone. The table around it is left out of the header, and the dotted keys behind it fall under it.
# Seen:      [groups], body.lr = 1e-5, head.lr = 1e-3; then document["groups"]["body"]["schedule"] = {"warmup": 100}:
#            the document is right in memory. The text has [body.schedule] at the top, with head.lr under it; read
#            again, groups has lost both and there is a new table body.
# Hurts:     a program that adds a setting to a configuration writes a valid file of another meaning: learning rates
#            change groups, or are not read any more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet tomlkit==0.15.2

venv/bin/python - <<'PY'
import json
import sys
import tomllib

import tomlkit

document = tomlkit.parse("[groups]\nbody.lr = 1e-5\nhead.lr = 1e-3\n")
document["groups"]["body"]["schedule"] = {"warmup": 100}
text = tomlkit.dumps(document)
memory, read = json.loads(json.dumps(document.unwrap())), tomllib.loads(text)
print("in memory:", memory)
print("written:", *text.splitlines(), sep="\n    ")
print("read again:", read)
same = memory == {"groups": {"body": {"lr": 1e-5, "schedule": {"warmup": 100}}, "head": {"lr": 1e-3}}}
same &= read == {"groups": {"body": {"lr": 1e-5}}, "body": {"schedule": {"warmup": 100, "head": {"lr": 1e-3}}}}
sys.exit(None if same else "the behaviour has changed")
PY
