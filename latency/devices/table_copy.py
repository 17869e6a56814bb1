"""The local copy of a table that is measured elsewhere."""

import os
from pathlib import Path
from typing import Any

from latency.devices.base import DeviceError
from latency.profile import MAX_FILE_BYTES, ProfileError, difference, parse_table


class TableCopy:
    """Takes lines of a table and saves them; the file is only ever replaced by more of itself.

    Raises:
        DeviceError: there is something else than a table with this header at ``path``.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self._path = path.resolve()
        self._header = header
        self._added: list[bytes] = []
        self.content = self._read()
        """The table's whole lines as they were found."""

    def add(self, line: bytes) -> None:
        """Take a line; it is in the file only once it is saved."""
        self._added.append(line)

    def save(self) -> None:
        """Write what was added, whole or not at all.

        Raises:
            DeviceError: what was added is no part of this table; the file stays as it is.
            OSError: the file cannot be written.
        """
        held = self._read()
        seen = set(held.splitlines(keepends=True))
        lines = [line for line in self._added if line not in seen]
        self._added.clear()
        if not lines:
            return
        content = held + b"".join(lines)
        self._check(content)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(content)
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def _read(self) -> bytes:
        if not self._path.exists():
            return b""
        with self._path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        self._check(content)
        # A line that a killed run tore is measured again.
        return content[: content.rfind(b"\n") + 1]

    def _check(self, content: bytes) -> None:
        try:
            records = parse_table(self._path, content)
        except ProfileError as error:
            raise DeviceError(str(error)) from None
        if records and records[0] != self._header:
            differs = difference(records[0], self._header)
            raise DeviceError(f"{self._path} was measured otherwise: {differs}; give another table")
