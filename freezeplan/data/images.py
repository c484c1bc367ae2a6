"""Images as rows hold them (a path, encoded bytes, numbers), each read as one 8-bit image."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy

from freezeplan.diagnostics.wording import first_line
from freezeplan.tasks.flaws import Flaw

# What PNG, JPEG, GIF and WebP begin with, as base64; shorter texts are names.
BASE64_STARTS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR")
LEAST_BASE64 = 64
LONGEST_SHOWN = 120
DECODE = "decode it: write files and their paths, or bytes in Parquet"
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
DEEP_MODES = ("I", "F")


class BadImage(Exception):
    """Say what is wrong with one image."""

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(f"{what} {detail}".strip())
        self.flaw = Flaw(what, detail)


def located(value: Any, folder: Path | None) -> Any:
    """Return a value with a path in it as a ``Path`` from ``folder``; everything else as it is.

    Both a string and what ``datasets`` makes of an image that is only a path count as paths.
    """
    if _is_struct(value):
        if value["bytes"] is not None:
            return value["bytes"]
        value = value["path"]
    if isinstance(value, str) and value.strip() and "\0" not in value:
        return (folder or Path()) / value
    return value


def image_flaw(value: Any, folder: Path | None = None) -> Flaw | None:
    """Say what is wrong with a value, as far as that can be told without reading pixels."""
    value = value if isinstance(value, str) and encoded_text(value) else located(value, folder)
    if isinstance(value, Path):
        return _path_flaw(value)
    if value is None:
        return Flaw("null (no image)")
    if isinstance(value, str):
        held = encoded_text(value)
        return Flaw(held, advice=DECODE) if held else Flaw("blank text")
    if isinstance(value, (bytes, list, tuple, numpy.ndarray)) or hasattr(value, "convert"):
        return None
    return Flaw(f"a value of type {type(value).__name__}")


def encoded_text(value: str) -> str | None:
    """Say in which way a text holds an image itself, None where it does not look like that.

    >>> encoded_text("data:image/png;base64,iVBORw0KGgo="), encoded_text("img/1.png")
    ('a data URI in the place of an image', None)
    """
    if value.startswith("data:"):
        return "a data URI in the place of an image"
    if len(value) >= LEAST_BASE64 and value.startswith(BASE64_STARTS) and "." not in value:
        return "base64 text in the place of an image"
    return None


def _path_flaw(path: Path) -> Flaw | None:
    name = shown_path(path)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return Flaw("the path of a file that does not exist", f"`{name}`")
    except (OSError, ValueError) as error:
        return Flaw("a path that cannot be used", f"`{name}`: {first_line(error)}")
    if not stat.S_ISREG(found.st_mode):
        return Flaw("the path of what is no file", f"`{name}`")
    if not os.access(path, os.R_OK):
        return Flaw("the path of a file that may not be read", f"`{name}`: permission denied")
    return None


def shown_path(path: Path) -> str:
    """Return a path as a message can hold it.

    >>> shown_path(Path("a.png"))
    'a.png'
    """
    text = str(path)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _is_struct(value: Any) -> bool:
    return isinstance(value, dict) and {"bytes", "path"} <= value.keys()


def read_image(value: Any, channels: int) -> Any:
    """Return a located value as a ``PIL.Image`` with 1 (grey), 3 (RGB) or 4 (RGBA) channels of 8 bits.

    Colours are converted, transparency is dropped where ``channels`` has no room for it, and a photo is
    turned upright. Raises :class:`BadImage` for what cannot be read, is no image, or has deeper channels.
    """
    from PIL import ImageOps

    if isinstance(value, (Path, bytes)):
        image = _decoded(value)
    else:
        image = value if hasattr(value, "convert") else _from_numbers(value)
    if image.mode.startswith(DEEP_MODES):
        raise BadImage("an image of more than 8 bits per channel", f"mode {image.mode}")
    return _guarded(lambda: ImageOps.exif_transpose(image).convert(MODES[channels]), "")


def _decoded(value: Path | bytes) -> Any:
    from PIL import Image

    def load() -> Any:
        with Image.open(io.BytesIO(value) if isinstance(value, bytes) else value) as image:
            image.load()
            return image

    return _guarded(load, f"`{shown_path(value)}`" if isinstance(value, Path) else "")


def _guarded(work: Callable[[], Any], detail: str) -> Any:
    """Run what decodes an image; Pillow's decoders raise errors of many unrelated types."""
    try:
        return work()
    except Exception as error:
        if isinstance(error, FileNotFoundError):
            raise BadImage("the path of a file that does not exist", detail) from None
        if isinstance(error, MemoryError):
            raise
        raise BadImage("a file that cannot be read as an image", detail) from None


def pixels_of(value: Any) -> numpy.ndarray:
    """Return an image as 8-bit numbers, (height, width) or (height, width, 3 or 4); raises :class:`BadImage`."""
    if hasattr(value, "convert"):
        value = numpy.asarray(value)
    try:
        array = numpy.asarray(value)
    except ValueError:
        raise BadImage("lists of numbers whose lengths differ") from None
    if array.dtype.kind not in "iuf":
        raise BadImage("lists that hold something else than numbers")
    shape = " x ".join(map(str, array.shape))
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not array.size or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in MODES):
        raise BadImage("numbers that are not height x width, or height x width x 1, 3 or 4 channels", shape)
    if not ((array >= 0) & (array <= 255) & (array == numpy.floor(array))).all():
        raise BadImage("numbers that are not whole, or not from 0 to 255")
    return array.astype(numpy.uint8)


def _from_numbers(value: Any) -> Any:
    from PIL import Image

    return Image.fromarray(pixels_of(value))
