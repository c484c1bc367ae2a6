"""What the compiler knows of a model: plain records, no tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

ITEM_BYTES = {
    "complex128": 16,
    "complex64": 8,
    "complex32": 4,
    "float64": 8,
    "int64": 8,
    "float32": 4,
    "int32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}

RECURRENT = "RNNBase"
FIXED, IDLE, UNSAVED = "fixed", "idle", "unsaved"


@dataclass(frozen=True)
class ParamInfo:
    """Describe one *name* of one parameter tensor.

    A tied tensor has one record per name: the first in registration order is canonical
    (``alias_of`` is None), the others name it in ``alias_of``.

    ``module`` is the path of the owning module (``""`` for the root). ``roles`` holds any of
    ``backbone heads embeddings layers stages pooler final_norm norm bias experts router adapters``.
    ``stack`` is the path of the layer stack the parameter belongs to, ``layer`` its layer's index there
    and ``stage`` its stage's: a parameter of a stage, but of none of its layers, has no ``layer``.
    All are None outside stacks. ``loaded`` tells whether a checkpoint provides the values (None: not known).
    ``quantized`` says how the values are packed, so that they can take no gradient (None: plain numbers),
    ``sparse`` that the gradient is sparse: an embedding's with ``sparse=True``.
    ``held`` says that the model keeps the tensor as it is: ``fixed`` (it was made without a gradient), ``idle`` (an
    adapter that is not active, or what a saved copy stands in for) or ``unsaved`` (the adapter library saves
    adapters alone); None: nothing speaks against training it.
    ``rung`` is the number of the group that the model itself puts the tensor in (timm's ``group_matcher``), 0 at the
    bottom; None where the model groups nothing. ``undecayed`` tells that the model itself lists the tensor among
    those without weight decay (``no_weight_decay()``).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    module: str
    alias_of: str | None = None
    roles: frozenset[str] = frozenset()
    stack: str | None = None
    layer: int | None = None
    loaded: bool | None = None
    stage: int | None = None
    quantized: str | None = None
    held: str | None = None
    sparse: bool = False
    rung: int | None = None
    undecayed: bool = False

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor in its number format."""
        return self.numel * ITEM_BYTES.get(self.dtype, 4)


@dataclass(frozen=True)
class ModuleInfo:
    """Describe one module: its path (``""`` for the root) and its class, then that class's bases.

    ``buffers`` holds the names of the module's own persistent and other buffers (last segment only). ``max_norm``
    is the length to which an embedding shortens its rows as it looks them up. ``runs_before`` holds the paths of what
    runs before it, where that is asked for: of recurrent modules.
    """

    path: str
    classes: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    max_norm: float | None = None
    runs_before: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stack:
    """Describe one stack of layers: the path of each layer in order, and why it is taken for one.

    ``main`` stacks are the model's layers; the others only look like some. Where parallel lists make up
    a layer together, ``companions`` holds, for each layer, the paths of its other modules. A stack in
    stages has in ``stages`` the paths of the modules of each stage (which may hold more than layers) and
    in ``stage_sizes`` how many layers each holds. ``shared`` says, where layers share their tensors, how:
    then depth is no property of a tensor, and no layer can be named alone.
    """

    path: str
    layers: tuple[str, ...]
    evidence: tuple[str, ...] = ()
    main: bool = True
    companions: tuple[tuple[str, ...], ...] = ()
    stages: tuple[tuple[str, ...], ...] = ()
    stage_sizes: tuple[int, ...] = ()
    shared: str | None = None

    @property
    def label(self) -> str:
        """Where the stack is, in words."""
        return self.path or "the root"

    @property
    def spans(self) -> tuple[tuple[str, ...], ...]:
        """The paths of all modules of each layer, in order."""
        if not self.companions:
            return tuple((layer,) for layer in self.layers)
        return tuple((layer, *more) for layer, more in zip(self.layers, self.companions, strict=True))

    @property
    def length(self) -> int:
        """Number of layers."""
        return len(self.layers)


@dataclass(frozen=True)
class Doubt:
    """Say where the evidence about a model's structure disagrees, and what a spec should write instead.

    ``roles`` are the roles that must not be used where the doubt is, ``where`` the path of the tower in
    doubt; ``candidates`` the paths and lengths of what they could mean, best first, each with its evidence.
    A pattern scoped to one candidate, or a path, is free of it.
    """

    roles: tuple[str, ...]
    where: str
    reason: str
    candidates: tuple[tuple[str, int, tuple[str, ...]], ...] = ()
    advice: str = ""


@dataclass(frozen=True)
class Inventory:
    """Hold everything the resolver may know of a model.

    ``params`` holds every name in registration order, aliases included. ``modules`` holds every
    module in registration order (parents first). ``base`` is the path of the base model inside the
    root (``""`` when the root is the base model itself). ``role_nodes`` maps ``backbone``, ``heads``,
    ``embeddings``, ``pooler``, ``final_norm``, ``norm``, ``bias``, ``experts``, ``router`` and
    ``adapters`` to the paths (modules or parameters) that the role names. ``doubts`` lists where the
    evidence for the layers disagrees. ``label`` says in words which model this is, ``origin`` how it was
    found (for example ``architecture defaults``). ``weak`` is true when only names were known.
    """

    label: str
    params: tuple[ParamInfo, ...]
    modules: tuple[ModuleInfo, ...]
    base: str = ""
    stacks: tuple[Stack, ...] = ()
    role_nodes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    origin: str = ""
    weak: bool = False
    notes: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    @property
    def tensors(self) -> tuple[ParamInfo, ...]:
        """The canonical record of each tensor, in registration order."""
        return tuple(info for info in self.params if info.alias_of is None)
