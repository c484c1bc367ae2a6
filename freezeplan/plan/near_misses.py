"""Why a pattern, or one alternative of it, selects nothing: what exists there and what was meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from freezeplan.diagnostics.wording import listed, nearest, some
from freezeplan.plan.tree import NameTree, Node
from freezeplan.plan.walk import Walk, walk
from freezeplan.spec.quoting import quoted_segment
from freezeplan.spec.selector import Segment, Selector

RANGE = re.compile(r"(\d{1,6})(?:-|:|\.{3})(\d{1,6})")
QUOTES = re.compile("[\"'\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"
                    "\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}]")  # fmt: skip
REGEX = re.compile(r"[()|^$+]")
# What other models call their heads; for advice only.
HEAD_NAMES = frozenset(
    [
        "classification_head",
        "classifier",
        "cls",
        "fc",
        "head",
        "heads",
        "lm_head",
        "pre_classifier",
        "qa_outputs",
        "score",
    ]
)
# Problems of a role that stay, whatever else a pattern hits.
SETTLED = ("FP204", "FP205", "FP214", "FP215")


@dataclass(frozen=True)
class Miss:
    """One place in a pattern that hit nothing.

    ``start`` to ``end`` are characters of the pattern. ``always`` marks problems that stay an error
    whatever other branches hit.
    """

    code: str
    message: str
    start: int
    end: int
    advice: str | None = None
    notes: tuple[str, ...] = ()
    always: bool = False

    @property
    def excusable(self) -> bool:
        """Whether ``optional = true`` allows it: nothing is there, rather than something being wrong."""
        return self.code in ("FP201", "FP202", "FP203") and not self.always


@dataclass(frozen=True)
class Stray:
    """A branch that found no name: how far it got, from the base model and from the root."""

    branch: tuple[Segment, ...]
    best: Walk
    other: Walk | None = None

    @property
    def failed(self) -> Segment:
        """The segment that found nothing."""
        return self.best.failed or self.branch[-1]

    @property
    def place(self) -> tuple[int, int]:
        """Where in the pattern that segment stands."""
        return self.failed.start, self.failed.end


def describe_walk(tree: NameTree, stray: Stray) -> Miss:
    """Say where a branch failed, what exists there, and what is close to it."""
    best, other, failed = stray.best, stray.other, stray.failed
    if best.problem:
        code, message, advice = best.problem
        return Miss(code, message, failed.start, failed.end, advice, always=code in SETTLED)
    around = best.reached + (other.reached if other is not None and other.depth == best.depth else [])
    names = _names_below(around)
    advice = _slip(failed) or _left_out(tree, stray) or _heads(tree, stray)
    advice = advice or _close(failed.text, names) or _elsewhere(tree, stray)
    notes = tuple(_what_exists(node) for node in around[:3] if node.children)
    return Miss("FP201", "pattern matches no parameter", failed.start, failed.end, advice, notes)


def _slip(segment: Segment) -> str | None:
    """Recognise what is written in another language: a range, a regular expression, a quote inside the quotes."""
    text = segment.text
    if segment.literal:
        meant = "*" in text or text.startswith("@")
        return "take the quotes inside the quotes out: they make a plain name of it" if meant else None
    if found := RANGE.fullmatch(text):
        return f"write `{{{found[1]}..{found[2]}}}` for the numbers from {found[1]} to {found[2]}"
    if QUOTES.search(text):
        return "take the quotes inside the quotes out"
    return "write `re:` in front of a regular expression" if REGEX.search(text) else None


def _left_out(tree: NameTree, stray: Stray) -> str | None:
    """Say that a pattern hits without the segment that failed: the outer prefix of a model, for one."""
    kept = [part for part in stray.branch if part is not stray.failed]
    if stray.failed is stray.branch[-1] or len(kept) == len(stray.branch):
        return None
    if not any(set(part.text) - set("*") for part in kept):
        return None
    starts = [
        tree.root,
        *([tree.by_path[tree.inventory.base]] if tree.inventory.base in tree.by_path else []),
    ]
    if not any(walk(tree, start, kept).nodes for start in starts):
        return None
    return f"leave `{stray.failed.text}` out: there is a `{'.'.join(part.text for part in kept)}`"


def _heads(tree: NameTree, stray: Stray) -> str | None:
    heads = [path for path in tree.inventory.role_nodes.get("heads", ()) if path in tree.by_path]
    if stray.failed.text not in HEAD_NAMES or stray.failed is not stray.branch[0] or not heads:
        return None
    return f"the model's heads are {some(heads, 3)}: `@heads` names them in every model"


def unknown_class(tree: NameTree, selector: Selector, bare: bool) -> Miss:
    """Say that no module has the class, or only modules without parameters."""
    known = sorted({name for module in tree.inventory.modules for name in module.classes})
    if bare:
        message, advice = f"modules of class `{selector.value}` hold no parameters", None
    else:
        message = f"no module has the class `{selector.value}`"
        advice = _close(selector.value, known) or "classes of this model: " + listed(known)
    return Miss("FP201", message, len("class:"), len(selector.text), advice)


def _names_below(nodes: Iterable[Node]) -> list[str]:
    return list(dict.fromkeys(name for node in nodes for name in node.children))


def _close(text: str, names: list[str]) -> str | None:
    patterns = {name: quoted_segment(name) for name in names}
    found = nearest(text.replace("*", ""), patterns) if not text.isdigit() else []
    return f"did you mean `{patterns[found[0]]}`?" if found else None


def _elsewhere(tree: NameTree, stray: Stray) -> str | None:
    """Offer the segment that failed where it stands in another place, with what the pattern wants below it."""
    text = stray.failed.text
    if text.isdigit():
        return None
    known = text if text in tree.by_segment else next(iter(_similar(text, tree)), None)
    nodes = [node for node in tree.by_segment.get(known or "", ()) if not _holds(node, stray.best.reached)]
    if not nodes or nodes[0].param is not None:
        return None
    rest = stray.branch[stray.branch.index(stray.failed) + 1 :]
    if any(walk(tree, node, rest).nodes for node in nodes):
        pattern = ".".join(["**", quoted_segment(str(known)), *(segment.text for segment in rest)])
        return f"there is a `{nodes[0].path}`; `{pattern}` finds it at any depth"
    return f"there is a `{nodes[0].path}`, which has {listed(nodes[0].children)}"


def _holds(node: Node, reached: Iterable[Node]) -> bool:
    """Tell whether the pattern has come through a node already, so that it is not what was meant."""
    return any(node.index <= other.index < node.end for other in reached)


def _similar(text: str, tree: NameTree) -> list[str]:
    return nearest(text.replace("*", ""), tree.by_segment, cutoff=0.75)


def _what_exists(node: Node) -> str:
    place = f"`{node.path}` has" if node.path else "the model's root has"
    return f"{place} {listed(node.children)}"
