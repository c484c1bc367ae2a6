"""Turns images into the tensors that a backbone takes: processed once, stacked per batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch

from freezeplan.data.findings import Flaw, Flaws
from freezeplan.data.images import MODES, BadImage, image_flaw, located, read_image
from freezeplan.data.modality import IMAGE, Kind
from freezeplan.diagnostics.wording import first_line
from freezeplan.models.resolve import resolve_source
from freezeplan.outside.quiet import quiet
from freezeplan.spec.tables import Spec

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
MIDDLE = 0.5
SOURCE = ("model", "source")


@dataclass(frozen=True)
class EncodedImages:
    """Hold processed images, ``pixels`` of shape (rows, channels, height, width), and which have a flaw.

    ``flaws`` maps rows, counted from 1, to what is wrong; with any, ``pixels`` is not to be used.
    """

    pixels: torch.Tensor
    flaws: Flaws

    def __len__(self) -> int:
        return len(self.pixels)


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
        pixels: torch.Tensor | None = None
        flaws = Flaws()
        for row, value in enumerate(values):
            try:
                image = self._processed(value)
                if pixels is None:
                    pixels = torch.zeros((len(values), *image.shape))
                pixels[row] = _fitting(image, pixels)
            except BadImage as problem:
                flaws.add(row + 1, problem.flaw)
        return EncodedImages(torch.zeros(len(values)) if pixels is None else pixels, flaws)

    def _processed(self, value: Any) -> torch.Tensor:
        image = read_image(value, self.channels)
        try:
            found = torch.as_tensor(self.processor([image])["pixel_values"][0], dtype=torch.float32)
        except Exception as error:  # image processors raise errors of many unrelated types
            raise BadImage(
                "an image that the image processor refuses", str(error).partition("\n")[0]
            ) from None
        if found.dim() != 3:
            raise BadImage("an image that comes out as several", _size(found))
        return found

    def batch(
        self, images: EncodedImages, rows: Sequence[int], device: torch.device
    ) -> dict[str, torch.Tensor]:
        """Return the chosen rows as ``pixel_values`` (rows, channels, height, width) on a device."""
        return {"pixel_values": images.pixels[list(rows)].to(device, non_blocking=True)}

    def save(self, folder: Path) -> None:
        """Write the processor's settings into a folder."""
        self.processor.save_pretrained(folder)


def _fitting(image: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    if image.shape != pixels.shape[1:]:
        detail = f"{_size(image)}, not {_size(pixels[0])}"
        raise BadImage("an image of another size than the first, and nothing here resizes them", detail)
    return image


def _size(image: torch.Tensor) -> str:
    return " x ".join(map(str, image.shape))


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
    options: dict[str, Any] = {"trust_remote_code": spec.model.trust_remote_code, "backend": "pil"}
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
        size = _size(images.pixels[0])
        message = f"the model refuses images of {size}: {first_line(error)}"
        advice = "give the source an image processor, or the config an `image_size`, of the model's own size"
        raise spec.locations.error(SOURCE, "FP474", message, help=advice) from None
    finally:
        model.train(training)
