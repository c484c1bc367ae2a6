#!/usr/bin/env bash
# Library:   datasets 5.2.0, load_dataset("genbank")
# Behaviour: the location of a feature loses what the format says with it. A part that lies in another record
#            (J00194.1:100..202) comes out as a part of this one. A site between two bases (23^24) is the same
#            as the two bases (23..24). bond(5,11) of a protein record has no coordinates at all.
# Seen:      join(1..40,J00194.1:100..202) -> parts [[1, 40], [100, 202]]; 23^24 and 23..24 -> start 23,
#            end 24; bond(5,11) -> {"strand": 1}
# Hurts:     models of sequences are trained on subsequences cut from the wrong record, on insertion sites that
#            are taken for two bases, and without the bonds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    datasets==5.2.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1

cat > records.gb <<'RECORDS'
LOCUS       EXAMPLE01                 60 bp    DNA     linear   SYN 01-JAN-2024
DEFINITION  Made-up record.
ACCESSION   EXAMPLE01
VERSION     EXAMPLE01.1
FEATURES             Location/Qualifiers
     CDS             join(1..40,J00194.1:100..202)
     variation       23^24
     variation       23..24
ORIGIN
        1 acgtacgtac gtacgtacgt acgtacgtac gtacgtacgt acgtacgtac gtacgtacgt
//
LOCUS       EXAMPLE02                 20 aa            linear   SYN 01-JAN-2024
DEFINITION  Made-up protein.
ACCESSION   EXAMPLE02
VERSION     EXAMPLE02.1
FEATURES             Location/Qualifiers
     Bond            bond(5,11)
                     /bond_type="disulfide"
ORIGIN
        1 mkwvcfislc clfssaysrg
//
RECORDS

HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$folder/cache" venv/bin/python - <<'PY'
import sys

import datasets

datasets.disable_progress_bars()
rows = datasets.load_dataset("genbank", data_files="records.gb", split="train", columns=["features"])
joined, between, both, bond = [feature["location"] for row in rows for feature in row["features"]]
print("join(1..40,J00194.1:100..202):", joined)
print("23^24:", between)
print("23..24:", both)
print("bond(5,11):", bond)
same = joined["parts"] == [[1, 40], [100, 202]] and "J00194" not in str(joined)
same &= between == both and bond == {"strand": 1}
sys.exit(None if same else "the behaviour has changed")
PY
