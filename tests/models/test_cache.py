"""The cache of inventories: the same answer as without it, never a stale one, and never a failure."""

from __future__ import annotations

import json
import os
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from freezeplan.api import compile_plan, load_spec
from freezeplan.inventory.records import Inventory
from freezeplan.models import cache, fingerprint, sources
from freezeplan.models.resolve import resolve_source
from freezeplan.plan.document import to_json
from freezeplan.spec.tables import Spec

CONFIG = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
CONFIG |= {"intermediate_size": 16, "vocab_size": 32, "max_position_embeddings": 16}
RULES = [{"match": "**", "state": "trainable"}]
TASK = {"name": "topic", "labels": ["a", "b"]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, turned on."""
    monkeypatch.setenv("FREEZEPLAN_CACHE", "on")
    monkeypatch.setenv("FREEZEPLAN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the inventories that are really made."""
    calls: list[str] = []
    build = sources._built

    def counting(source, spec, labels):
        calls.append(source.label)
        return build(source, spec, labels)

    monkeypatch.setattr(sources, "_built", counting)
    return calls


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "model.safetensors").write_bytes(header("embeddings.word_embeddings.weight"))
    return path


def header(name: str, size: int = 4) -> bytes:
    text = json.dumps({name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


def spec_of(source: Path | None = None, /, **tables: object) -> Spec:
    table = {"source": str(source)} if source else {"config": CONFIG}
    own = tables.pop("model", {})
    return load_spec({"model": {**table, **own}, "rule": RULES, "task": [TASK], **tables})  # type: ignore[dict-item]


def key_of(spec: Spec) -> str | None:
    source = resolve_source(spec)
    return fingerprint.inventory_key(
        source, spec, {task.name: tuple(task.labels or ()) for task in spec.task}
    )


def test_the_second_time_nothing_is_built_and_the_plan_is_the_same(built: list[str], model: Path) -> None:
    cold, warm = (sources.inventory_for(spec_of(model)) for _ in range(2))
    assert len(built) == 1 and warm == cold
    assert to_json(compile_plan(warm, spec_of(model))) == to_json(compile_plan(cold, spec_of(model)))


def test_turned_off_everything_is_built_and_nothing_is_written(
    built: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEZEPLAN_CACHE", "off")
    for _ in range(2):
        sources.inventory_for(spec_of())
    assert len(built) == 2 and not folder.exists()


CHANGES = {
    "a value of the config": lambda model: spec_of(model={"config": {**CONFIG, "hidden_size": 16}}),
    "a value of the config that shapes nothing": lambda model: spec_of(
        model={"config": {**CONFIG, "layer_norm_eps": 1e-6}}
    ),
    "the class": lambda model: spec_of(task=[], model={"class": "BertForMaskedLM"}),
    "another class": lambda model: spec_of(task=[], model={"class": "BertModel"}),
    "no class": lambda model: spec_of(task=[]),
    "the name of a head": lambda model: spec_of(task=[{**TASK, "name": "other"}]),
    "the number of labels": lambda model: spec_of(task=[{**TASK, "labels": ["a", "b", "c"]}]),
    "the dropout of a head": lambda model: spec_of(task=[{**TASK, "dropout": 0.2}]),
    "one more head": lambda model: spec_of(task=[TASK, {**TASK, "name": "more"}]),
    "the pooling": lambda model: spec_of(model={"pooling": "cls"}),
    "the number format": lambda model: spec_of(model={"dtype": "bfloat16"}),
    "the trust in code": lambda model: spec_of(model={"trust_remote_code": True}),
    "the source": lambda model: spec_of(model),
}


def test_no_two_of_many_models_share_a_key(model: Path) -> None:
    keys = {name: key_of(change(model)) for name, change in CHANGES.items()} | {
        "as it was": key_of(spec_of())
    }
    assert None not in keys.values() and len(set(keys.values())) == len(keys)


def test_what_an_inventory_does_not_depend_on_shares_its_key() -> None:
    other = spec_of(rule=[{"match": "**", "state": "frozen"}], optimizer={"lr": 1.0}, train={"epochs": 9})
    assert key_of(other) == key_of(spec_of())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
def test_a_changed_file_of_the_source_is_another_key(model: Path, name: str) -> None:
    before = key_of(spec_of(model))
    changed = {
        "config.json": json.dumps(CONFIG | {"vocab_size": 33}).encode(),
        "model.safetensors": header("pooler.dense.weight"),
        "model.safetensors.index.json": b'{"weight_map": {}}',
    }
    (model / name).write_bytes(changed[name])
    assert key_of(spec_of(model)) != before


def test_a_checkpoint_that_appears_or_goes_is_another_key(model: Path) -> None:
    before = key_of(spec_of(model))
    (model / "model.safetensors").unlink()
    assert key_of(spec_of(model)) != before


@pytest.mark.parametrize("package", ["transformers", "torch", "timm"])
def test_another_version_of_a_library_is_another_key(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_of(spec_of())
    (tmp_path / "site" / f"{package}-99.0.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    assert key_of(spec_of()) != before


def test_libraries_of_unknown_version_are_never_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    assert key_of(spec_of()) is None


def test_an_editable_library_counts_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "site" / "torch-9.dist-info"
    info.mkdir(parents=True)
    (info / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {"editable": true}}')
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    found = fingerprint.installed_code() or []
    assert any(item.rpartition(" ")[0].endswith("__init__.py") for item in found)


def test_other_sources_of_this_package_are_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(spec_of())
    monkeypatch.setattr(fingerprint, "own_sources", lambda: "other")
    assert key_of(spec_of()) != before


def test_code_that_a_model_ships_counts_when_it_is_run(model: Path) -> None:
    (model / "config.json").write_text(json.dumps(CONFIG | {"auto_map": {"AutoModel": "modeling.Own"}}))
    trusted = spec_of(model, model={"trust_remote_code": True})
    (model / "modeling.py").write_text("one = 1")
    before, untrusted = key_of(trusted), key_of(spec_of(model))
    (model / "modeling.py").write_text("one = 2")
    assert key_of(trusted) != before and key_of(spec_of(model)) == untrusted


def test_code_that_is_elsewhere_is_never_cached(model: Path) -> None:
    (model / "config.json").write_text(json.dumps(CONFIG | {"auto_map": {"AutoModel": "a/b--modeling.Own"}}))
    assert key_of(spec_of(model, model={"trust_remote_code": True})) is None


DAMAGES = {
    "nothing left": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "one bit": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "no head": lambda data: data.partition(b"\n")[2],
    "binary": lambda data: bytes(range(256)),
    "another key": lambda data: data.replace(b" ", b" 0", 2),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_built_again_and_mended(built: list[str], folder: Path, damage: str) -> None:
    whole = sources.inventory_for(spec_of())
    (entry,) = folder.iterdir()
    entry.write_bytes(DAMAGES[damage](entry.read_bytes()))
    assert sources.inventory_for(spec_of()) == whole and len(built) == 2
    assert sources.inventory_for(spec_of()) == whole and len(built) == 2


def foreign_owner(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + 1)


def a_pipe(path: Path, _: pytest.MonkeyPatch) -> None:
    path.unlink()
    os.mkfifo(path)


STRANGE = {
    "another user's": foreign_owner,
    "writable for the group": lambda path, _: path.chmod(0o620),
    "writable for all": lambda path, _: path.chmod(0o602),
    "a pipe": a_pipe,
}


@pytest.mark.parametrize("kind", STRANGE)
def test_an_entry_that_is_not_one_s_own_is_not_believed(
    built: list[str], folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sources.inventory_for(spec_of())
    (entry,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, entry.stat().st_mode & 0o777) == (0o700, 0o600)
    STRANGE[kind](entry, monkeypatch)
    assert sources.inventory_for(spec_of()) == whole and len(built) == 2


def test_an_entry_of_deep_json_is_built_again(built: list[str], folder: Path) -> None:
    whole = sources.inventory_for(spec_of())
    (entry,) = folder.iterdir()
    body = b"[" * 500_000
    entry.write_bytes(cache._head(entry, body).encode() + b"\n" + body)
    assert sources.inventory_for(spec_of()) == whole and len(built) == 2


def test_every_room_that_makes_inventories_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("outside", "inventory", "models"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "a.py").write_text("one = 1")
    monkeypatch.setattr(fingerprint, "__file__", str(tmp_path / "models" / "fingerprint.py"))
    found = {fingerprint.own_sources()}
    for room in ("outside", "inventory", "models"):
        (tmp_path / room / "a.py").write_text("one = 2")
        found.add(fingerprint.own_sources())
    assert len(found) == 4


def test_an_entry_under_another_s_name_is_not_taken(folder: Path) -> None:
    folder.mkdir()
    cache.write(folder / f"one{cache.SUFFIX}", Inventory("one", (), ()))
    (folder / f"one{cache.SUFFIX}").rename(folder / f"two{cache.SUFFIX}")
    assert cache.load(folder / f"two{cache.SUFFIX}") is None


def test_a_folder_that_cannot_be_written_is_no_failure(
    built: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FREEZEPLAN_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert sources.inventory_for(spec_of()) == sources.inventory_for(spec_of()) and len(built) == 2


def test_large_entries_are_compressed(folder: Path) -> None:
    large = Inventory("large", (), (), notes=tuple(f"note {number}" for number in range(20_000)))
    cache.write(folder / f"k{cache.SUFFIX}", large)
    assert (folder / f"k{cache.SUFFIX}").stat().st_size < cache.GZIP_FROM
    assert cache.load(folder / f"k{cache.SUFFIX}") == large


def test_only_the_newest_entries_stay_and_foreign_files_too(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine.txt").write_text("not the cache's")
    for number in range(6):
        cache.write(folder / f"{number}{cache.SUFFIX}", Inventory(str(number), (), ()))
        os.utime(folder / f"{number}{cache.SUFFIX}", (number, number))
    cache.remove_oldest(folder, keep=2)
    assert sorted(path.name for path in folder.iterdir()) == [
        f"4{cache.SUFFIX}",
        f"5{cache.SUFFIX}",
        "mine.txt",
    ]


def test_writers_and_readers_at_once_see_whole_entries_only(folder: Path) -> None:
    """Whoever comes when, an entry is absent or one of the whole inventories that were written."""
    written = [Inventory(f"model {number}", (), (), notes=("x" * 5000,) * 9) for number in range(8)]
    path = folder / f"k{cache.SUFFIX}"

    def work(inventory: Inventory) -> list[Inventory | None]:
        seen = []
        for _ in range(20):
            cache.write(path, inventory)
            seen.append(cache.load(path))
        return seen

    with ThreadPoolExecutor(8) as pool:
        seen = [item for found in pool.map(work, written) for item in found]
    assert None not in seen and all(item in written for item in seen)
    assert [item.name for item in folder.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("platform", "variables", "wanted"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/freezeplan"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "~/.cache/freezeplan"),
        ("linux", {}, "~/.cache/freezeplan"),
        ("darwin", {}, "~/Library/Caches/freezeplan"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/freezeplan"),
    ],
)
def test_the_folder_is_the_user_s_on_each_platform(
    platform: str, variables: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FREEZEPLAN_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache.cache_folder() == Path(wanted).expanduser()
