"""Generated models: abstract module trees, read as plain records or built as real torch modules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from freezeplan.inventory.records import Inventory, ModuleInfo, ParamInfo, Stack

WIDTH = 4
LEAVES = {
    "Linear": (("weight", (WIDTH, WIDTH)), ("bias", (WIDTH,))),
    "LayerNorm": (("weight", (WIDTH,)), ("bias", (WIDTH,))),
    "BatchNorm1d": (("weight", (WIDTH,)), ("bias", (WIDTH,))),
    "Dropout": (),
    "ReLU": (),
}
BASES = {
    "Linear": ("Linear",),
    "LayerNorm": ("LayerNorm",),
    "BatchNorm1d": ("BatchNorm1d", "_BatchNorm", "_NormBase"),
    "Dropout": ("Dropout", "_DropoutNd"),
    "ReLU": ("ReLU",),
    "Block": ("Block",),
    "ModuleList": ("ModuleList",),
}
# Names that are parts of each other, as those that other tools mix up.
NAMES = (
    "a",
    "b",
    "ab",
    "aa",
    "layer",
    "layers",
    "encoder",
    "encoder_proj",
    "head",
    "attention_heads",
    "norm",
    "x1",
    "x10",
)
OWN_NAMES = ("scale", "gain", "weight", "bias")
ROLE_NAMES = ("backbone", "heads", "embeddings", "pooler", "final_norm", "norm", "bias")


@dataclass(frozen=True)
class Made:
    """One abstract module: its class, the names of parameters of its own, and its children."""

    kind: str
    own: tuple[str, ...] = ()
    children: tuple[tuple[str, Made], ...] = ()

    def params(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Return the names and shapes of the parameters that the module itself holds."""
        return LEAVES[self.kind] if self.kind in LEAVES else tuple((name, (WIDTH,)) for name in self.own)


def leaves() -> st.SearchStrategy[Made]:
    """Return leaf modules; linear ones are the most common."""
    return st.sampled_from(["Linear", "Linear", *LEAVES]).map(Made)


def blocks(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    """Return modules with children and sometimes parameters of their own: non-leaf parameters."""
    own = st.lists(st.sampled_from(OWN_NAMES), max_size=2, unique=True).map(tuple)
    children = st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=4).map(
        lambda d: tuple(d.items())
    )
    return st.builds(Made, st.just("Block"), own, children)


def module_lists(inner: st.SearchStrategy[Made]) -> st.SearchStrategy[Made]:
    """Return lists of up to 13 alike modules, so that ``1`` stands beside ``10``, ``11`` and ``12``."""
    sizes = st.sampled_from([1, 2, 3, 12, 13])
    return st.builds(
        lambda item, n: Made("ModuleList", (), tuple((str(i), item) for i in range(n))), inner, sizes
    )


def trees(most: int = 6) -> st.SearchStrategy[Made]:
    """Return whole models with at least one parameter."""
    inner = st.recursive(
        leaves(), lambda below: st.one_of(blocks(below), module_lists(below)), max_leaves=most
    )
    return blocks(inner).filter(lambda tree: any(True for _ in named_params(tree)))


def named_modules(tree: Made, path: str = "") -> Any:
    """Yield (path, module) in registration order, parents first."""
    yield path, tree
    for name, child in tree.children:
        yield from named_modules(child, f"{path}.{name}" if path else name)


def named_params(tree: Made) -> Any:
    """Yield (name, module path, shape) in registration order."""
    for path, made in named_modules(tree):
        for name, shape in made.params():
            yield (f"{path}.{name}" if path else name), path, shape


def as_inventory(tree: Made, ties: dict[str, str] | None = None, base: str = "") -> Inventory:
    """Read a tree as records; ``ties`` maps a name to the earlier name of the same tensor."""
    ties = ties or {}
    params = tuple(
        ParamInfo(name, shape, "float32", module, ties.get(name))
        for name, module, shape in named_params(tree)
    )
    modules = tuple(ModuleInfo(path, BASES[made.kind]) for path, made in named_modules(tree))
    stacks = tuple(
        Stack(path, tuple(f"{path}.{name}" for name, _ in made.children), ("made",))
        for path, made in named_modules(tree)
        if made.kind == "ModuleList" and any(True for _ in named_params(made))
    )
    return Inventory("made", params, modules, base=base, stacks=_outermost(stacks), origin="made")


def _outermost(stacks: tuple[Stack, ...]) -> tuple[Stack, ...]:
    return tuple(s for s in stacks if not any(s.path.startswith(other.path + ".") for other in stacks))


@st.composite
def inventories(draw: st.DrawFn, most: int = 6) -> Inventory:
    """Draw an inventory with ties, a base model, stacks and arbitrary roles."""
    tree = draw(trees(most))
    ties = draw(tie_maps(tree))
    tops = [name for name, child in tree.children if any(True for _ in named_params(child))]
    base = draw(st.sampled_from(["", *tops]))
    bare = as_inventory(tree, ties, base)
    paths = [info.path for info in bare.modules if info.path] + [info.name for info in bare.params]
    paths = [path for path in paths if any(is_below(info.name, path) for info in bare.params)]
    chosen = st.lists(st.sampled_from(paths), max_size=3, unique=True).map(tuple)
    return with_roles(
        bare, {role: draw(chosen) for role in draw(st.sets(st.sampled_from(ROLE_NAMES), max_size=3))}
    )


def with_roles(inventory: Inventory, nodes: dict[str, tuple[str, ...]]) -> Inventory:
    """Return the inventory with role nodes, and with each parameter's own roles and place in a stack."""
    params = tuple(_placed(info, nodes, inventory.stacks) for info in inventory.params)
    ordered = {role: nodes[role] for role in ROLE_NAMES if role in nodes}
    return replace(inventory, params=params, role_nodes=ordered)


def _placed(info: ParamInfo, nodes: dict[str, tuple[str, ...]], stacks: tuple[Stack, ...]) -> ParamInfo:
    roles = {role for role, paths in nodes.items() if any(is_below(info.name, path) for path in paths)}
    places = [(s.path, i) for s in stacks for i, path in enumerate(s.layers) if is_below(info.name, path)]
    stack, layer = places[0] if places else (None, None)
    return replace(info, roles=frozenset(roles | ({"layers"} if places else set())), stack=stack, layer=layer)


def is_below(name: str, path: str) -> bool:
    """Tell whether a path is another one or lies below it."""
    return not path or name == path or name.startswith(path + ".")


@st.composite
def tie_maps(draw: st.DrawFn, tree: Made) -> dict[str, str]:
    """Draw which names share a tensor with an earlier name of the same shape."""
    first: dict[tuple[int, ...], list[str]] = {}
    ties: dict[str, str] = {}
    for name, _, shape in named_params(tree):
        same = first.setdefault(shape, [])
        if same and len(ties) < 3 and draw(st.integers(0, 19)) == 0:
            ties[name] = draw(st.sampled_from(same))
        else:
            same.append(name)
    return ties


def as_module(tree: Made, ties: dict[str, str] | None = None) -> Any:
    """Build a tree as a real torch module that maps (batch, 4) to (batch, 4)."""
    from tests.torch_modules import build

    model = build(tree)
    for name, source in (ties or {}).items():
        path, _, last = name.rpartition(".")
        setattr(model.get_submodule(path), last, model.get_parameter(source))
    return model


@st.composite
def torch_models(draw: st.DrawFn, most: int = 5) -> Any:
    """Draw a real module: ties, parameters on non-leaf modules, and sometimes one module at two places."""
    tree = draw(trees(most))
    model = as_module(tree, draw(tie_maps(tree)))
    if draw(st.booleans()):
        model.shared_once = _some_leaf(model)
    return model


def _some_leaf(model: Any) -> Any:
    return next(module for module in model.modules() if not list(module.children()))


@st.composite
def selectors(draw: st.DrawFn, inventory: Inventory) -> str:
    """Draw a pattern: mostly a real path made more general, sometimes a role, a class, or nothing real."""
    kind = draw(st.sampled_from(["path"] * 5 + ["end", "end", "role", "role", "class", "noise"]))
    if kind == "class":
        return "class:" + draw(st.sampled_from([*BASES, "_NormBase", "Conv2d"]))
    if kind == "noise":
        parts = st.sampled_from([*NAMES, "*", "**", "a*", "*b*", "{a,b}", "{0..3}", "1", "10", "weight"])
        return ".".join(draw(st.lists(parts, min_size=1, max_size=4)))
    path = draw(paths_of(inventory))
    if kind == "end":
        return "**." + path.rpartition(".")[2]
    segments = [_general(draw, segment) for segment in path.split(".")]
    if kind == "role":
        return _with_role(draw, segments)
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(segments)))
        segments[draw(st.integers(0, cut)) : cut] = ["**"]
    return ".".join(segments)


def paths_of(inventory: Inventory) -> st.SearchStrategy[str]:
    """Return real paths of modules and parameters, from the root or from the base model."""
    paths = [info.path for info in inventory.modules if info.path] + [info.name for info in inventory.params]
    inside = [path.removeprefix(inventory.base + ".") for path in paths if inventory.base]
    return st.sampled_from(paths + inside)


def _general(draw: st.DrawFn, segment: str) -> str:
    """Replace a segment by a pattern that (mostly) still finds it."""
    how = draw(st.sampled_from(["same"] * 5 + ["star", "front", "back", "braces", "range"]))
    if how == "range" and segment.isdigit():
        low = draw(st.integers(0, int(segment)))
        return f"{{{low}..{int(segment) + draw(st.integers(0, 1))}}}"
    other = draw(st.sampled_from(["a", "b", "0", "weight"]))
    return {
        "star": "*",
        "front": segment[0] + "*",
        "back": "*" + segment[-1],
        "braces": f"{{{segment},{other}}}",
    }.get(how, segment)


def _with_role(draw: st.DrawFn, segments: list[str]) -> str:
    slices = ["", "", "[0]", "[-1]", "[:1]", "[-2:]", "[1:]", "[:50%]", "[2]", "[:12]"]
    role = draw(st.sampled_from([f"@{name}" for name in ROLE_NAMES] + ["@layers" + cut for cut in slices]))
    before = segments[: draw(st.integers(0, 2))] if draw(st.booleans()) else []
    after = draw(st.sampled_from([[], [], ["*"], ["weight"], ["**", "bias"], ["@bias"], ["@norm"]]))
    return ".".join([*before, role, *after])


VALUES: dict[str, list[Any]] = {
    "state": ["trainable", "frozen", "trainable"],
    "lr_mult": [0.1, 10.0],
    "lr": [2e-6, 1e-3],
    "weight_decay": [0.0, 0.1],
    "weight_decay_mult": [0.0, 10.0],
    "betas": [[0.9, 0.95]],
    "eval_mode": [False],
}
KEYS = [
    ("state",),
    ("lr_mult",),
    ("lr",),
    ("state", "lr_mult"),
    ("state", "weight_decay"),
    ("lr", "weight_decay"),
    ("state", "weight_decay_mult"),
    ("weight_decay", "betas"),
    ("state", "eval_mode", "lr"),
]


@st.composite
def rule_tables(draw: st.DrawFn, pattern: str, number: int, state: bool = False) -> dict[str, Any]:
    """Draw one rule about a pattern, with one to three properties."""
    keys = draw(st.sampled_from(KEYS))
    table = {
        key: draw(st.sampled_from(VALUES[key])) for key in VALUES if key in keys or (state and key == "state")
    }
    if table.get("state") == "trainable":
        table.pop("eval_mode", None)
    return {"name": f"rule {number}", "match": pattern, **table}


@st.composite
def refining_specs(draw: st.DrawFn, inventory: Inventory) -> dict[str, Any]:
    """Draw a spec whose rules go from the whole down: mostly valid, since each lies inside the one before."""
    path = draw(st.sampled_from([info.name for info in inventory.params])).split(".")
    depths = sorted(draw(st.sets(st.integers(1, len(path)), max_size=4)))
    rules = [draw(rule_tables("**", 0, state=True))]
    for number, depth in enumerate(depths, 1):
        rules.append(draw(rule_tables(".".join(path[:depth]), number)))
    return {
        "optimizer": {"no_decay": draw(st.sampled_from([[], ["@bias"], ["@bias", "@norm"], ["**.bias"]]))},
        "rule": rules,
    }


@st.composite
def free_specs(draw: st.DrawFn, inventory: Inventory) -> dict[str, Any]:
    """Draw a spec of arbitrary patterns: overlapping, colliding, leaving gaps, overriding, excepting."""
    patterns = draw(st.lists(selectors(inventory), min_size=1, max_size=4))
    rules = [draw(rule_tables("**", 0, state=True))] if draw(st.integers(0, 3)) else []
    for number, pattern in enumerate(patterns, len(rules)):
        rule = draw(rule_tables(pattern, number)) | {"optional": True}
        if number and draw(st.integers(0, 3)) == 0:
            rule["override"] = [f"rule {draw(st.integers(0, number - 1))}"]
        if {"weight_decay", "weight_decay_mult"} & rule.keys() and draw(st.integers(0, 3)) == 0:
            rule["override"] = [*rule.get("override", []), "no_decay"]
        if draw(st.integers(0, 4)) == 0 and (taken := draw(selectors(inventory))) != pattern:
            rule["except"] = taken
        rules.append(rule)
    no_decay = draw(st.sampled_from([[], ["@bias"], ["@norm", "@bias"]]))
    return {"optimizer": {"no_decay": no_decay}, "rule": rules}


def specs(inventory: Inventory) -> st.SearchStrategy[dict[str, Any]]:
    """Return specs of both kinds."""
    return st.one_of(refining_specs(inventory), free_specs(inventory))
