"""Files that are whole or absent."""

import json
import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file under a temporary name and rename it; makes the folder where it lacks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_json(path: Path, content: object) -> Path:
    """Write plain data; NaN is refused, because other readers of JSON refuse it."""
    return write_whole(path, json.dumps(content, indent=2, allow_nan=False).encode() + b"\n")
