#!/usr/bin/env bash
# Library:   datasets 5.2.0, load_dataset("json")
# Behaviour: an ordinary table that happens to have the columns type, id and cwd (text) and version (a number)
#            is taken for the log of a coding agent. Reading it then needs another package, and would turn a
#            whole file into one row. parse_agent_traces=False reads the rows.
# Seen:      DatasetGenerationError, caused by "To support decoding agent traces, please install 'teich'."
# Hurts:     a table of shell commands or crash reports cannot be read, and the message sends its owner to
#            install a package that has nothing to do with the data.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    datasets==5.2.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1

HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$folder/cache" venv/bin/python - <<'PY'
import json
import sys

import datasets

datasets.disable_progress_bars()
datasets.logging.set_verbosity(datasets.logging.CRITICAL)
ROW = {"type": "crash", "id": "r-17", "version": 3, "cwd": "/srv/app"}
with open("reports.jsonl", "w") as file:
    file.write(json.dumps(ROW) + "\n")

try:
    datasets.load_dataset("json", data_files="reports.jsonl", split="train")
    message = "read"
except datasets.exceptions.DatasetGenerationError as error:
    message = str(error.__cause__)
print("by default:", message)
rows = datasets.load_dataset("json", data_files="reports.jsonl", split="train", parse_agent_traces=False)
print("with parse_agent_traces=False:", rows[0])
sys.exit(None if "agent traces" in message and rows[0] == ROW else "the behaviour has changed")
PY
