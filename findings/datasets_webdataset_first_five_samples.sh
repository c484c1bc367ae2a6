#!/usr/bin/env bash
# Library:   datasets 5.2.0, load_dataset("webdataset")
# Behaviour: the first five samples of a TAR archive decide which fields there are and what is in their JSON. A
#            field, or a key of the JSON, that is first met later is left out of every row, without a word. A
#            string that looks like a number becomes one where the first samples had numbers.
# Seen:      sample 5 has a label and {"stars": "05", "source": "b"}; its row has no label and {"stars": 5}
# Hurts:     archives are often sorted, with what is labelled at the end: the labels are in the file and
#            never reach the model, and training goes on as if there were none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    datasets==5.2.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1

HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$folder/cache" venv/bin/python - <<'PY'
import io
import sys
import tarfile

import datasets

datasets.disable_progress_bars()
members = [(f"{number}.json", b'{"stars": 1}') for number in range(5)]
members += [("5.json", b'{"stars": "05", "source": "b"}'), ("5.cls", b"3")]
with tarfile.open("samples.tar", "w") as archive:
    for name, content in members:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))

rows = datasets.load_dataset("webdataset", data_files="samples.tar", split="train")
last = {name: value for name, value in rows[-1].items() if not name.startswith("__")}
print("the last sample in the archive:", members[-2:])
print("the last row:", last)
sys.exit(None if len(rows) == 6 and last == {"json": {"stars": 5}} else "the behaviour has changed")
PY
