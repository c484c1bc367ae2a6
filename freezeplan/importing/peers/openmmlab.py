"""MMEngine and mmpretrain: ``optim_wrapper`` with ``paramwise_cfg``.

Restates ``DefaultOptimWrapperConstructor`` of MMEngine 0.10.7,
https://github.com/open-mmlab/mmengine/blob/main/mmengine/optim/optimizer/default_constructor.py: of the custom keys in
a name the longest (then the first of the alphabet) sets rate and decay, and no other rule does; else a bias takes its
rate, and the decay is that of norms, of biases, of depthwise kernels, or of tensors of one axis, in this order.

What is trained is a model of mmpretrain's own, and its table is not restated: a key in it that freezes
(``frozen_stages``, ``norm_eval``, ``norm_cfg`` without gradients) is refused by its name, as every unread key is that
may change what trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from freezeplan.importing.config_file import ConfigFile, Unknown
from freezeplan.importing.hits import Hits, by_substring
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.findings import OTHER_MODULES, Findings, everything
from freezeplan.importing.reading import FROZEN, TRAINED, UNSAID, PhaseReading, Reading, Statement, Treatment
from freezeplan.spec.locations import KeyPath

NAME, TITLE = "mmengine", "MMEngine"
WRAPPER: KeyPath = ("optim_wrapper",)
PARAMWISE: KeyPath = (*WRAPPER, "paramwise_cfg")
NORMS = {"_BatchNorm", "_InstanceNorm", "GroupNorm", "LayerNorm"}
KNOWN = (
    "custom_keys", "bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult", "flat_decay_mult",
    "bypass_duplicate", "dcn_offset_lr_mult",
)  # fmt: skip
# What torch's optimizers decay where nothing is said.
OWN_DECAYS = {"AdamW": 0.01}
SETTINGS, OWN = ("lr_mult", "decay_mult"), ("lr", "weight_decay")
LAYER_DECAY = ("layer_decay_rate", "decay_rate", "decay_type", "num_layers")
CONSTRUCTORS = ("DefaultOptimWrapperConstructor", "DefaultOptimizerConstructor")
WITHOUT_DECAY = ("bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult")
DEFORMABLE = {"DeformConv2d", "ModulatedDeformConv2d"}


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    return isinstance(config.at(*WRAPPER), (Mapping, Unknown))


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model, literally or as it is meant."""
    _refuse(config, model)
    findings = Findings(config, model)
    for key in config.table(*PARAMWISE):
        if key not in KNOWN:
            near = config.near(str(key), KNOWN)
            findings.accident((*PARAMWISE, key), f"`{key}` is not read there" + (f": {near}" if near else ""))
            config.at(*PARAMWISE, key)
    reader = _Reader(config, model, findings, meant)
    outcome = {name: reader.treated(name) for name in everything(model, TRAINED)}
    kind = config.at(*WRAPPER, "optimizer", "type")
    decay = config.rate(*WRAPPER, "optimizer", "weight_decay")
    return Reading(
        tuple(reader.statements),
        (PhaseReading(outcome),),
        lr=config.rate(*WRAPPER, "optimizer", "lr"),
        weight_decay=OWN_DECAYS.get(str(kind), 0.0) if decay is None else decay,
        findings=tuple(findings.items),
    )


def _refuse(config: ConfigFile, model: ModelNames) -> None:
    """Refuse what is decided by code of mmpretrain's, or what would stop there."""
    reason = 'the depth of a tensor is asked of mmpretrain\'s own models; write `layer_decay` with `formula = "beit"`'
    config.without(dict.fromkeys(LAYER_DECAY, reason), *PARAMWISE)
    if config.at("_base_"):
        message = "`_base_` cannot be imported: its files are not all here, or are changed by a statement"
        raise config.error(
            ("_base_",), "FP193", message, "put them there, or import the whole config, as MMEngine prints it"
        )
    constructor = config.at(*WRAPPER, "constructor")
    named = constructor.text if isinstance(constructor, Unknown) else constructor
    if named is not None and named not in CONSTRUCTORS:
        message = f"`{named}` cannot be imported: it divides the tensors by code of its own"
        raise config.error((*WRAPPER, "constructor"), "FP193", message)
    if config.at("auto_scale_lr", "enable"):
        message = "`auto_scale_lr` cannot be imported: it scales the rate by the number of devices"
        raise config.error(("auto_scale_lr", "enable"), "FP193", message)
    _refuse_types(config)
    _refuse_deformable(config, model)
    _refuse_ties(config, model)
    _refuse_missing(config)


def _refuse_types(config: ConfigFile) -> None:
    """Refuse a model whose class freezes the one inside of it."""
    todo: list[KeyPath] = [("model",)]
    while todo:
        path = todo.pop()
        value = config.peek(*path)
        if value == "LoRAModel":
            raise config.error(path, "FP193", f"`{value}` cannot be imported: {OTHER_MODULES}")
        inside = (
            value.keys() if isinstance(value, Mapping) else range(len(value if type(value) is list else ()))
        )
        todo += [(*path, key) for key in inside]


def _refuse_deformable(config: ConfigFile, model: ModelNames) -> None:
    factor = config.rate(*PARAMWISE, "dcn_offset_lr_mult")
    found = next((name for name, classes in model.classes.items() if DEFORMABLE & set(classes)), None)
    if config.at(*PARAMWISE) and found:
        message = f"`{found}` is a deformable convolution, which has rules of its own there"
        raise config.error((*PARAMWISE, *(["dcn_offset_lr_mult"] if factor else [])), "FP193", message)


def _refuse_missing(config: ConfigFile) -> None:
    """Refuse factors of a rate or a decay that the optimizer does not have."""
    optimizer = (*WRAPPER, "optimizer")
    if config.at(*WRAPPER) is None:
        raise config.error(
            (), "FP193", "the config cannot be imported: it has no `optim_wrapper`, and trains nothing"
        )
    if not config.table(*optimizer):
        raise config.error(WRAPPER, "FP194", "there it is an error: `optim_wrapper` has no `optimizer`")
    custom = config.table(*PARAMWISE, "custom_keys")
    if config.at(*optimizer, "lr") is None and (custom or config.at(*PARAMWISE, "bias_lr_mult") is not None):
        raise config.error(PARAMWISE, "FP194", "there it is an error: the optimizer has no `lr` to multiply")
    if config.at(*optimizer, "weight_decay") is not None:
        return
    scaled = [(*PARAMWISE, key) for key in WITHOUT_DECAY if key in config.table(*PARAMWISE)]
    tables = {key: table for key, table in custom.items() if isinstance(table, Mapping)}
    scaled += [(*PARAMWISE, "custom_keys", key) for key, table in tables.items() if "decay_mult" in table]
    if scaled:
        message = "there it is an error: the optimizer has no `weight_decay` to multiply"
        raise config.error(scaled[0], "FP194", message)


def _refuse_ties(config: ConfigFile, model: ModelNames) -> None:
    tied = [name for name, first in model.first_names.items() if name != first]
    if tied and config.at(*PARAMWISE) and not config.at(*PARAMWISE, "bypass_duplicate"):
        message = (
            f"there it is an error: `{tied[0]}` is tied and would be in two groups; set `bypass_duplicate`"
        )
        raise config.error(PARAMWISE, "FP194", message)


class _Reader:
    """Decide tensor by tensor, as the constructor does on its way through the modules."""

    def __init__(self, config: ConfigFile, model: ModelNames, findings: Findings, meant: bool) -> None:
        self.config = config
        self.model = model
        self.meant = meant
        self.statements: list[Statement] = []
        self.keys: list[tuple[Treatment, Hits, int]] = []
        self.rules: dict[str, tuple[float, int]] = {}
        custom = config.table(*PARAMWISE, "custom_keys")
        for key in sorted(sorted(map(str, custom)), key=len, reverse=True):
            self._add_key(key, config.table(*PARAMWISE, "custom_keys", key), findings)
        for key in KNOWN[1:6]:
            if (number := config.rate(*PARAMWISE, key)) is not None:
                self.rules[key] = (number, self._say(f"{key} = {number:g}", (*PARAMWISE, key)))

    def _say(self, said: str, path: KeyPath) -> int:
        self.statements.append(Statement(said, self.config.span(path)))
        return len(self.statements) - 1

    def _add_key(self, key: str, settings: Mapping[str, object], findings: Findings) -> None:
        path: KeyPath = (*PARAMWISE, "custom_keys", key)
        for name, value in settings.items():
            if isinstance(value, Unknown):
                raise self.config.error(
                    (*path, name), "FP193", f"`{value.text}` cannot be imported: nothing is run"
                )
            if name not in SETTINGS + OWN:
                self._note_option(name, (*path, name), findings)
        # A name at the root has a dot in front of it there.
        named = {("" if "." in name else ".") + name: name for name in self.model.tensors}
        found = by_substring(key, named)
        hits = Hits(
            *(frozenset(named[name] for name in part) for part in (found.literal, found.meant)), found.slip
        )
        findings.hits(path, key, hits)
        said = self._say(f"custom_keys: {key!r}", path)
        treatment = self._treatment(path, bool(hits.literal), findings)
        self.keys.append((treatment, hits, said))

    def _treatment(self, path: KeyPath, hits_some: bool, findings: Findings) -> Treatment:
        """Return what a key does: ``lr`` and ``weight_decay`` of its table replace what the factors give."""
        rate, decay = (self.config.rate(*path, name) for name in SETTINGS)
        own_rate, own_decay = (self.config.rate(*path, name) for name in OWN)
        if (rate if own_rate is None else own_rate) == 0 and hits_some:
            where = (*path, "lr_mult" if own_rate is None else "lr")
            findings.accident(where, "a rate of 0 is not frozen: statistics and state go on")
            if not self.meant:
                message = "`lr_mult=0` cannot be imported as it is: it is not frozen; --intended freezes"
                raise self.config.error(where, "FP193", message)
            return FROZEN
        return Treatment(
            True,
            lr=own_rate,
            lr_mult=rate if own_rate is None else None,
            weight_decay=own_decay,
            weight_decay_mult=decay if own_decay is None else None,
        )

    def _note_option(self, name: str, path: KeyPath, findings: Findings) -> None:
        """Note a key of a group that is not the constructor's: the optimizer gets it, which may know no such option."""
        near = self.config.near(name, SETTINGS)
        self.config.at(*path)
        if near:
            findings.accident(path, f"`{name}` is not read there: {near}")
        else:
            findings.left_out(path, f"`{name}` goes to the optimizer there, and is not in the spec")

    def treated(self, name: str) -> tuple[Treatment, int]:
        """Return what is done with a tensor, and the statement that decides it."""
        for treatment, hits, said in self.keys:
            if name in hits.of(self.meant):
                return treatment, said
        is_norm = bool(NORMS & set(self.model.classes_of(name)))
        is_bias = name.rpartition(".")[2] == "bias"
        found, by = TRAINED, UNSAID
        if is_bias and not is_norm and "bias_lr_mult" in self.rules:
            number, by = self.rules["bias_lr_mult"]
            found = replace(found, lr_mult=number)
        if self.config.number(*WRAPPER, "optimizer", "weight_decay") is not None:
            for key in self._decays(name, is_norm, is_bias):
                if key in self.rules:
                    number, by = self.rules[key]
                    return replace(found, weight_decay_mult=number), by
        return found, by

    def _decays(self, name: str, is_norm: bool, is_bias: bool) -> list[str]:
        """Return the rules of weight decay that fit a tensor; the first that is set decides."""
        shape = self.model.tensors[name].shape
        classes = self.model.classes_of(name)
        kernel = self.model.tensors.get(name.rpartition(".")[0] + ".weight")
        depthwise = "Conv2d" in classes and kernel is not None and kernel.shape[1] == 1
        fits = {
            "norm_decay_mult": is_norm,
            "bias_decay_mult": is_bias,
            "dwconv_decay_mult": depthwise,
            "flat_decay_mult": len(shape) == 1,
        }
        return [key for key, yes in fits.items() if yes]
