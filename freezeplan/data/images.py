"""Images as rows hold them (a path, encoded bytes, numbers), each read as one 8-bit image."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy

from freezeplan.data.findings import Flaw

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
    if isinstance(value, dict) and {"bytes", "path"} <= value.keys():
        if value["bytes"] is not None:
            return value["bytes"]
        value = value["path"]
    if isinstance(value, str) and value.strip() and "\0" not in value:
        return (folder or Path()) / value
    return value


def image_flaw(value: Any) -> Flaw | None:
    """Say what is wrong with a value, as far as that can be told without reading pixels."""
    if isinstance(value, Path):
        return None if value.is_file() else Flaw("the path of a file that does not exist", f"`{value}`")
    if value is None or isinstance(value, str):
        return Flaw("null (no image)" if value is None else "blank text")
    if isinstance(value, (bytes, list, tuple, numpy.ndarray)) or hasattr(value, "convert"):
        return None
    return Flaw(f"a value of type {type(value).__name__}")


def image_key(value: Any) -> Any:
    """Return something hashable that is equal for equal images of the same form.

    >>> image_key([[0, 1], [2, 3]]) == image_key([[0, 1], [2, 3]]), image_key(Path("a.png"))
    (True, 'a.png')
    """
    if isinstance(value, (bytes, str)):
        return value
    return value.tobytes() if hasattr(value, "tobytes") else str(value)


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

    return _guarded(load, f"`{value}`" if isinstance(value, Path) else "")


def _guarded(work: Callable[[], Any], detail: str) -> Any:
    """Run what decodes an image; Pillow's decoders raise errors of many unrelated types."""
    try:
        return work()
    except Exception as error:
        if isinstance(error, FileNotFoundError):
            raise BadImage("the path of a file that does not exist", detail) from None
        raise BadImage("a file that cannot be read as an image", detail) from None


def _from_numbers(value: Any) -> Any:
    from PIL import Image

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
    return Image.fromarray(array.astype(numpy.uint8))
