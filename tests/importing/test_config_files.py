"""Configs of every form are read with the places of their values, and nothing of them runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from freezeplan.diagnostics import DiagnosticError
from freezeplan.importing.config_file import ConfigFile, Unknown, read_config


def read(tmp_path: Path, name: str, text: str) -> ConfigFile:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return read_config(path)


def place(config: ConfigFile, *path) -> tuple[int, int, int]:
    span = config.span(path)
    return span.line, span.column, span.length


def test_yaml_and_json(tmp_path: Path) -> None:
    config = read(tmp_path, "a.yaml", "lr: 1e-5\nparams:\n  - a.b\n  - 'c'\n0:\n  x: 1\n")
    assert config.number("lr") == 1e-5 and config.at(0, "x") == 1
    assert config.strings("params") == [(("params", 0), "a.b"), (("params", 1), "c")]
    assert place(config, "params", 1) == (4, 5, 3) and place(config, "params", 9) == (3, 3, 5)
    config = read(
        tmp_path,
        "b.json",
        '{\n\t"a": {"b": [1, 2,]},\n  // "c": 1\n\t"d": true}\n',
    )
    assert config.data == {"a": {"b": [1, 2]}, "d": True} and place(config, "a", "b", 1) == (2, 17, 1)


def test_a_command_line_is_read_as_a_shell_would(tmp_path: Path) -> None:
    text = "#!/bin/bash\nswift sft \\\n  --ratio 0.5 --regex '^a\\.(b|c)' \\\n"
    text += "  --names a b # c d\npython x.py --flag --on=true --lr ${LR}\n"
    config = read(tmp_path, "a.sh", text)
    assert config.data == {
        "ratio": "0.5",
        "regex": "^a\\.(b|c)",
        "names": ["a", "b"],
        "flag": True,
        "on": True,
        "lr": Unknown("${LR}"),
    }
    assert place(config, "regex")[0] == 3 and config.number("ratio") == 0.5
    with pytest.raises(DiagnosticError, match="FP193.*is known when the file runs"):
        config.number("lr")


def test_python_is_read_and_not_run(tmp_path: Path) -> None:
    text = "import os\nlr = 4e-3\nos.remove('a.py')\n"
    text += "wrapper = dict(lr=lr, wd=4e-3 * 2 / 4, keys={'.a': dict(x=os.sep)}, b=(1, 2))\n"
    config = read(tmp_path, "a.py", text)
    assert config.at("wrapper", "lr") == 4e-3 and config.at("wrapper", "wd") == 2e-3
    assert isinstance(config.at("wrapper", "keys", ".a", "x"), Unknown) and config.at("wrapper", "b") == [
        1,
        2,
    ]
    assert (tmp_path / "a.py").exists() and place(config, "wrapper", "lr") == (2, 6, 4)


@pytest.mark.parametrize(
    ("name", "text", "at"),
    [
        ("a.yaml", "0:\n  a: 1\n0:\n  b: 2\n", 3),
        ("a.yaml", "a: [1\nb: 2\n", 2),
        ("a.yaml", "- 1\n", 1),
        ("a.yaml", "", 1),
        ("a.yaml", "a: !!python/object:os.system 1\n", 1),
        ("a.yaml", "? [a]\n: 1\n", 1),
        ("a.py", "a = (\n", 1),
        ("a.py", "a = {'x': 1, 'x': 2}\n", 1),
    ],
)
def test_what_cannot_be_read_is_an_error_with_a_place(tmp_path: Path, name: str, text: str, at: int) -> None:
    with pytest.raises(DiagnosticError) as refused:
        read(tmp_path, name, text)
    assert [(item.code, item.span.line) for item in refused.value.diagnostics] == [("FP190", at)]


def test_a_value_of_another_kind_is_an_error_at_its_place(tmp_path: Path) -> None:
    config = read(tmp_path, "a.yaml", "lr: fast\nparams: {a: 1}\n")
    for call in (lambda: config.number("lr"), lambda: config.strings("params")):
        with pytest.raises(DiagnosticError, match="FP190"):
            call()
