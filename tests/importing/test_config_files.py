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


MASKED = """\
depths = [1, 2]
multi = dict(lr_mult=0.1)
keys = {'backbone': multi, **{'head': dict(lr_mult=10 - 1)}}
keys.update({
    f'stages.{at}.blocks.{n}.norm': multi for at, depth in enumerate(depths) for n in range(depth)
})
wrapper = dict(keys=keys, names=[f'x{n + 1}' for n in range(2)])
"""


def test_short_loops_of_a_python_config_are_worked_out(tmp_path: Path) -> None:
    config = read(tmp_path, "a.py", MASKED)
    blocks = ("stages.0.blocks.0", "stages.1.blocks.0", "stages.1.blocks.1")
    keys = {"backbone": {"lr_mult": 0.1}, "head": {"lr_mult": 9}}
    keys |= {f"{block}.norm": {"lr_mult": 0.1} for block in blocks}
    assert config.data["wrapper"] == {"keys": keys, "names": ["x1", "x2"]}
    assert place(config, "wrapper", "keys", "stages.1.blocks.0.norm")[0] == 4


@pytest.mark.parametrize(
    "change",
    [
        "keys['b'] = 2",
        "keys.pop('a')",
        "for n in range(3):\n    keys[n] = n",
        "keys = {f(n): n for n in range(3)}",
        "keys = {n: n for n in range(10 ** 9)}",
        "keys = {n: n for n in range(3) if n}",
        "keys |= dict(b=2)",
        "if True:\n    keys = dict()",
        "load(keys)",
        "keys.update(other)",
    ],
)
def test_what_a_statement_changes_is_not_known(tmp_path: Path, change: str) -> None:
    for text in (
        f"keys = dict(a=1)\n{change}\nwrapper = dict(k=keys)\n",
        f"keys = dict(a=1)\nwrapper = dict(k=keys)\n{change}\n",
    ):
        config = read(tmp_path, "a.py", text)
        # A name that is only assigned anew leaves what was taken from it before.
        kept = change.startswith("keys = ") and text.endswith(f"{change}\n")
        unknown = isinstance(config.at("wrapper"), Unknown) or isinstance(config.at("wrapper", "k"), Unknown)
        assert unknown != kept, text


def test_the_bases_of_a_config_are_merged_into_it(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    read(tmp_path, "base/model.py", "model = dict(frozen_stages=4, head=dict(a=1))\n")
    read(
        tmp_path,
        "base/schedule.py",
        "_base_ = './deeper.py'\nwrapper = dict(optimizer=dict(lr=1, wd=2), clip=3)\n",
    )
    read(tmp_path, "base/deeper.py", "wrapper = dict(x=0)\n")
    text = "_base_ = ['base/model.py', 'base/schedule.py']\n"
    text += "wrapper = dict(optimizer=dict(_delete_=True, lr=5))\nmodel = dict(head=dict(b=2))\n"
    config = read(tmp_path, "a.py", text)
    assert config.data == {
        "model": {"frozen_stages": 4, "head": {"a": 1, "b": 2}},
        "wrapper": {"optimizer": {"lr": 5}, "clip": 3, "x": 0},
    }
    assert config.span(("model", "frozen_stages")).file.endswith("model.py")
    assert place(config, "wrapper", "optimizer", "lr")[0] == 2


@pytest.mark.parametrize(
    "text", ["_base_ = 'missing.py'\n", "_base_ = 'lib::a.py'\n", "with read_base():\n    from .a import *\n"]
)
def test_a_base_that_is_not_here_stays(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, "a.py", text).at("_base_") is not None


def test_one_key_in_two_bases_is_an_error(tmp_path: Path) -> None:
    for name in ("b.py", "c.py"):
        read(tmp_path, name, "model = dict()\n")
    with pytest.raises(DiagnosticError, match="FP194.*`model` is in two files"):
        read(tmp_path, "a.py", "_base_ = ['b.py', 'c.py']\n")
