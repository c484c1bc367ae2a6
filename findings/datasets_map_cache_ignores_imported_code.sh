#!/usr/bin/env bash
# Library:   datasets 5.2.0, Dataset.map
# Behaviour: the cache of map is found again by a hash of the function. A function of the script itself is hashed
#            with its code; one that it imports from another file is hashed by its name alone. After an edit of
#            that file, map gives the rows of the old code.
# Seen:      the imported function adds 1, then is edited to add 100; map gives 2 both times, where 101 is right
# Hurts:     preprocessing usually lies in a module of its own. A mended tokenizer call or label rule has no
#            effect on what is trained on, and the change looks as if it made no difference.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    datasets==5.2.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1

echo '{"x": 1}' > rows.jsonl
cat > prepare.py <<'PY'
import datasets
from rules import relabel

datasets.disable_progress_bars()
rows = datasets.load_dataset("json", data_files="rows.jsonl", split="train")
print(rows.map(lambda row: {"y": relabel(row["x"])})[0]["y"], relabel(1))
PY
run() { HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$folder/cache" PYTHONDONTWRITEBYTECODE=1 venv/bin/python prepare.py; }

printf 'def relabel(x):\n    return x + 1\n' > rules.py
before=$(run)
printf 'def relabel(x):\n    return x + 100\n' > rules.py
after=$(run)
echo "from map, from the function itself: first $before, after the edit $after"
[ "$before" = "2 2" ] && [ "$after" = "2 101" ] || { echo "the behaviour has changed" >&2; exit 1; }
