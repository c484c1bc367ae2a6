"""Bytes that grow: in memory up to a budget, beyond it in an unnamed file of the temporary folder."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy

BUDGET = 256 << 20


class NoRoom(Exception):
    """Say that the temporary folder cannot take what does not fit into memory."""

    def __init__(self, error: OSError) -> None:
        self.folder = tempfile.gettempdir()
        reason = (error.strerror or str(error)).lower()
        super().__init__(f"the temporary folder `{self.folder}` cannot take more: {reason}")


class Spool:
    """Take bytes one after the other, and give them back as one array.

    Up to ``budget`` bytes stay in memory. Beyond it they lie in a file without a name, which is gone when nobody
    looks at the array any more, and the array is a map of it. Raises :class:`NoRoom` where that file cannot grow.
    """

    def __init__(self, budget: int | None = None) -> None:
        self._budget = BUDGET if budget is None else budget
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self.size = 0

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes at the end."""
        self.size += len(data)
        if self._file is None and self.size <= self._budget:
            self._memory += data
            return
        try:
            self._spilled().write(data)
        except OSError as error:
            raise NoRoom(error) from error

    def array(self, dtype: Any) -> numpy.ndarray:
        """Return all bytes as a read-only array; nothing may be added after."""
        import numpy

        if self._file is None:
            return numpy.frombuffer(bytes(self._memory) if not self.size else self._memory, dtype=dtype)
        try:
            self._file.flush()
        except OSError as error:
            raise NoRoom(error) from error
        return numpy.memmap(self._file, dtype=dtype, mode="r")

    def _spilled(self) -> BinaryIO:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="freezeplan-")  # noqa: SIM115 - as long as the array
            self._file.write(self._memory)
            self._memory = bytearray()
        return self._file
