"""``import`` as a user meets it: right and wrong configs, what is written and what is said."""

from __future__ import annotations

from tests.cli.rooms import Room

SCHEDULE = """\
0:
  params:
  - classifier.*
  max_transition_epoch: 1
1:
  params:
  - bert.encoder.layer.1
  lr: 1e-4
"""
ACCIDENT = "base_model: m\ndatasets: []\nunfrozen_parameters:\n  - bert.encoder.layer.1\n  - bert.pooler\n"


def test_a_schedule_becomes_phases_and_is_proved(room: Room) -> None:
    room.write("schedule.yaml", SCHEDULE)
    done = room.run("import", "schedule.yaml", "--model", "model.safetensors", "--out", "new.toml")
    assert done.status == 0 and done.out.startswith("wrote new.toml: ")
    assert "proved: all 12 tensors as finetuning-scheduler treats them" in done.err
    assert "note[FP196]: how long phase 1 lasts is not in the schedule" in done.err
    assert "note[FP196]: the base rate is not in the config: 2e-05 is freezeplan's default" in done.err
    text = (room.path / "new.toml").read_text()
    assert text.count("[[phase]]") == 2 and "# 7: phase 1: bert.encoder.layer.1" in text
    assert room.run("check", "new.toml").status == 0 and room.run("fmt", "--check", "new.toml").status == 0
    again = room.run("import", "schedule.yaml", "--model", "model.safetensors", "--out", "new.toml")
    assert again.status == 2 and "never replaced" in again.err


def test_without_out_it_is_printed(room: Room) -> None:
    room.write("c.yaml", ACCIDENT)
    done = room.run("import", "c.yaml", "--model", "model.safetensors")
    assert done.status == 0 and done.out.startswith(
        "#:schema freezeplan.schema.json\n# c.yaml of axolotl, literally"
    )
    assert "warning[FP195]: `bert.pooler` hits nothing" in done.err and " --> c.yaml:5:5" in done.err


def test_what_cannot_be_imported_writes_nothing(room: Room) -> None:
    room.write("lora.yaml", "finetuning_type: lora\n")
    done = room.run("import", "lora.yaml", "--model", "model.safetensors", "--out", "new.toml")
    assert done.status == 1 and "error[FP193]" in done.err and " --> lora.yaml:1:18" in done.err
    assert not (room.path / "new.toml").exists() and done.out == ""


def test_wrong_usage(room: Room) -> None:
    room.write("odd.yaml", "a: 1\n")
    assert "FP191" in room.run("import", "odd.yaml", "--model", "model.safetensors").err
    assert room.run("import", "missing.yaml", "--model", "model.safetensors").status == 2
    assert room.run("import", "odd.yaml").status == 2
    assert "no learning rate" in room.run("import", "odd.yaml", "--model", "m", "--lr", "-1").err
