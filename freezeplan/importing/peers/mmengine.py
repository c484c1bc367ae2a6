"""MMEngine and mmpretrain: ``optim_wrapper`` with ``paramwise_cfg``.

Restates ``DefaultOptimWrapperConstructor`` of MMEngine 0.10.7,
https://github.com/open-mmlab/mmengine/blob/main/mmengine/optim/optimizer/default_constructor.py: of the custom keys in
a name the longest (then the first of the alphabet) sets rate and decay, and no other rule does; else a bias takes its
rate, and the decay is that of norms, of biases, of depthwise kernels, or of tensors of one axis, in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from freezeplan.importing.config_file import ConfigFile, Unknown
from freezeplan.importing.hits import Hits, by_substring
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.findings import Findings, everything
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
SETTINGS = ("lr_mult", "decay_mult")
LAYER_DECAY = ("layer_decay_rate", "decay_rate", "decay_type", "num_layers")


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    return isinstance(config.at(*WRAPPER), Mapping)


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model, literally or as it is meant."""
    reason = 'the depth of a tensor is asked of mmpretrain\'s own models; write `layer_decay` with `formula = "beit"`'
    config.without(dict.fromkeys(LAYER_DECAY, reason), *PARAMWISE)
    if config.at("_base_") and not config.at(*WRAPPER, "_delete_"):
        message = "`_base_` cannot be imported: what it says of `optim_wrapper` is added to what stands here"
        raise config.error(("_base_",), "FP193", message, "import the whole config, as MMEngine prints it")
    findings = Findings(config, model)
    for key in config.table(*PARAMWISE):
        if key not in KNOWN:
            near = config.near(str(key), KNOWN)
            findings.accident((*PARAMWISE, key), f"`{key}` is not read there" + (f": {near}" if near else ""))
    _refuse_ties(config, model)
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
            if name not in SETTINGS:
                self._note_option(name, (*path, name), findings)
        # A name at the root has a dot in front of it there.
        named = {("" if "." in name else ".") + name: name for name in self.model.tensors}
        found = by_substring(key, named)
        hits = Hits(
            *(frozenset(named[name] for name in part) for part in (found.literal, found.meant)), found.slip
        )
        findings.hits(path, key, hits)
        rate, decay = (self.config.rate(*path, name) for name in SETTINGS)
        said = self._say(f"custom_keys: {key!r}", path)
        treatment = Treatment(True, lr_mult=rate, weight_decay_mult=decay)
        if rate == 0 and hits.literal:
            findings.accident((*path, "lr_mult"), "a rate of 0 is not frozen: statistics and state go on")
            if not self.meant:
                message = "`lr_mult=0` cannot be imported as it is: it is not frozen; --intended freezes"
                raise self.config.error((*path, "lr_mult"), "FP193", message)
            treatment = FROZEN
        self.keys.append((treatment, hits, said))

    def _note_option(self, name: str, path: KeyPath, findings: Findings) -> None:
        """Note a key of a group that is not the constructor's: the optimizer gets it, which may know no such option."""
        near = self.config.near(name, SETTINGS)
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
