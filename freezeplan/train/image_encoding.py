"""Turns images into the tensors that a backbone takes: processed once, or, if they are many, per batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy
import torch

from freezeplan.data.findings import Flaws
from freezeplan.data.images import MODES, BadImage, image_flaw, located, read_image
from freezeplan.data.modality import IMAGE, Kind
from freezeplan.data.spool import BUDGET, Spool
from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_line
from freezeplan.models.remote_code import trusts
from freezeplan.models.resolve import resolve_source
from freezeplan.outside.quiet import quiet
from freezeplan.spec.tables import Spec
from freezeplan.tasks.flaws import Flaw

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
MIDDLE = 0.5
Process = Callable[[Any], torch.Tensor]
SOURCE = ("model", "source")


class EncodedImages:
    """Hold images for a model: all of them processed, or, where that takes more than a budget, how to do it again.

    ``shape`` is that of a processed image (channels, height, width). ``flaws`` says which rows, counted from 1,
    cannot be used; with any, the rest is not to be used.
    """

    lengths = None

    def __init__(
        self,
        values: Sequence[Any],
        process: Process,
        *,
        flaws: Flaws | None = None,
        budget: int | None = None,
    ) -> None:
        self._values, self._process = values, process
        self.flaws = Flaws() if flaws is None else flaws
        self.shape: tuple[int, ...] = ()
        self._pixels: torch.Tensor | None = None
        self._digests = Spool()
        for row in range(len(values)):
            self._add(row, BUDGET if budget is None else budget)

    def _add(self, row: int, budget: int) -> None:
        try:
            image = self._process(self._values[row])
            if not self.shape:
                self._begin(image, budget)
            _check_size(image, self.shape)
        except BadImage as problem:
            self.flaws.add(row + 1, problem.flaw)
            self._digests.append(bytes(hashlib.sha256().digest_size))
            return
        self._digests.append(_digest(image))
        if self._pixels is not None:
            self._pixels[row] = image

    def _begin(self, image: torch.Tensor, budget: int) -> None:
        self.shape = tuple(image.shape)
        if len(self._values) * image.nbytes <= budget:
            self._pixels = torch.zeros((len(self._values), *self.shape))

    def __len__(self) -> int:
        return len(self._values)

    @property
    def held(self) -> bool:
        """Whether all images are held processed."""
        return self._pixels is not None

    def pixels(self, rows: Sequence[int]) -> torch.Tensor:
        """Return some rows, processed: (rows, channels, height, width).

        Raises ``DiagnosticError`` (FP471) for an image that is not the one any more that was there at the start.
        """
        if self._pixels is not None:
            return self._pixels[list(rows)]
        return torch.stack([self._again(int(row)) for row in rows])

    def _again(self, row: int) -> torch.Tensor:
        try:
            image = self._process(self._values[row])
        except BadImage as problem:
            raise _changed(row, str(problem)) from None
        if _digest(image) != self._known[row].tobytes():
            raise _changed(row, "it is another one")
        return image

    @cached_property
    def _known(self) -> numpy.ndarray:
        return self._digests.array(numpy.uint8).reshape(-1, hashlib.sha256().digest_size)

    def digests(self) -> Iterator[bytes]:
        """Yield a hash of each processed image."""
        return (row.tobytes() for row in self._known)

    def digest(self) -> bytes:
        """Return a hash of all processed images, in their order."""
        return hashlib.sha256(self._known).digest()


@dataclass(frozen=True)
class ImageEncoder:
    """Process images for one model with an image processor of transformers; ``channels`` is what it takes."""

    processor: Any
    channels: int
    max_length: ClassVar[None] = None
    kind: ClassVar[Kind] = IMAGE

    def located(self, value: Any) -> Any:
        """Return an input for prediction as :meth:`encode` takes it: a string is a path."""
        return located(value, None)

    def flaw(self, value: Any) -> Flaw | None:
        """Say what is wrong with a located value, as far as that can be told without encoding it."""
        return image_flaw(value)

    def encode(self, values: Sequence[Any]) -> EncodedImages:
        """Read and process located images (see ``images.located``); all must come out in one size."""
        return EncodedImages(values, self._processed)

    def _processed(self, value: Any) -> torch.Tensor:
        image = read_image(value, self.channels)
        try:
            found = torch.as_tensor(self.processor([image])["pixel_values"][0], dtype=torch.float32)
        except Exception as error:  # image processors raise errors of many unrelated types
            raise BadImage(
                "an image that the image processor refuses", str(error).partition("\n")[0]
            ) from None
        if found.dim() != 3:
            raise BadImage("an image that comes out as several", _size(found.shape))
        return found

    def batch(
        self, images: EncodedImages, rows: Sequence[int], device: torch.device
    ) -> dict[str, torch.Tensor]:
        """Return the chosen rows as ``pixel_values`` (rows, channels, height, width) on a device."""
        return {"pixel_values": images.pixels(rows).to(device, non_blocking=True)}

    def save(self, folder: Path) -> None:
        """Write the processor's settings into a folder."""
        self.processor.save_pretrained(folder)


def _digest(image: torch.Tensor) -> bytes:
    return hashlib.sha256(image.contiguous().numpy()).digest()


def _changed(row: int, what: str) -> DiagnosticError:
    message = f"image {row + 1} is not what it was when the run began: {what}"
    return DiagnosticError([diagnostic("FP471", message, help="leave the images alone while a run goes on")])


def _check_size(image: torch.Tensor, shape: tuple[int, ...]) -> None:
    if tuple(image.shape) != shape:
        detail = f"{_size(image.shape)}, not {_size(shape)}"
        raise BadImage("an image of another size than the first, and nothing here resizes them", detail)


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def make_image_encoder(spec: Spec, backbone: torch.nn.Module) -> ImageEncoder:
    """Return the encoder for a backbone that reads images.

    The processor is the source's own (its PIL backend), where it ships one. Otherwise images are resized to
    the config's ``image_size`` (if it names one), scaled from 0..255 to 0..1, less 0.5 and divided by 0.5.
    Raises ``DiagnosticError``: FP470 without Pillow, FP474 for a model of other channels than 1, 3 or 4, or
    a processor that does not load.
    """
    if find_spec("PIL") is None:
        advice = 'pip install "freezeplan[vision]"'
        raise spec.locations.error(SOURCE, "FP470", "reading images needs Pillow", help=advice)
    channels = getattr(backbone.config, "num_channels", 3)
    if channels not in MODES:
        message = f"the model takes images of {channels} channels"
        advice = "images here have 1 channel (grey), 3 (RGB) or 4 (RGBA)"
        raise spec.locations.error(SOURCE, "FP474", message, help=advice)
    processor = _own_processor(spec) or _default_processor(backbone.config, channels)
    return ImageEncoder(processor, channels)


def _own_processor(spec: Spec) -> Any | None:
    from transformers import AutoImageProcessor

    source = resolve_source(spec)
    options: dict[str, Any] = {"trust_remote_code": trusts(spec), "backend": "pil"}
    if source.kind == "hub":
        options |= {"revision": spec.model.revision} if spec.model.revision else {}
    elif source.folder is None or not any((source.folder / name).is_file() for name in PROCESSOR_FILES):
        return None
    else:
        options["local_files_only"] = True
    try:
        with quiet():
            return AutoImageProcessor.from_pretrained(source.repo or str(source.folder), **options)
    except Exception as error:
        message = f"the image processor of `{source.label}` does not load: {first_line(error)}"
        advice = f"the source needs a `{PROCESSOR_FILES[0]}` that transformers reads"
        raise spec.locations.error(SOURCE, "FP474", message, help=advice) from None


def _default_processor(config: Any, channels: int) -> Any:
    import transformers

    # A plain pipeline under a name that every reader of the run's folder knows.
    chosen = getattr(transformers, "ViTImageProcessorPil", None) or transformers.ViTImageProcessor
    size = getattr(config, "image_size", None)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    wanted = {"do_resize": False} if size is None else {"size": {"height": height, "width": width}}
    return chosen(image_mean=[MIDDLE] * channels, image_std=[MIDDLE] * channels, **wanted)


def check_forward(spec: Spec, model: Any, encoder: ImageEncoder, images: EncodedImages) -> None:
    """Run the backbone once on one image; raises ``DiagnosticError`` (FP474) when it refuses the size."""
    training = model.training
    batch = encoder.batch(images, [0], next(model.parameters()).device)
    try:
        with torch.no_grad():
            model.eval().pool(**batch)
    except (RuntimeError, ValueError) as error:
        size = _size(images.shape)
        message = f"the model refuses images of {size}: {first_line(error)}"
        advice = "give the source an image processor, or the config an `image_size`, of the model's own size"
        raise spec.locations.error(SOURCE, "FP474", message, help=advice) from None
    finally:
        model.train(training)
