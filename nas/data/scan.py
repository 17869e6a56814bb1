"""Looking at every image once: which can be decoded, how large they are, what their colours are.

A file that breaks off in its middle is found by decoding it, and by nothing less. A scan costs less
than an epoch of training does for decoding alone, and what it finds is kept in a file: it is done
once a data set, not once a run or a worker.
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latency.console import Terminal
from latency.files import write_whole
from nas.data.decoding import decoding_threads, upright_rgb, upright_size
from nas.data.source import ImageSource

FORMAT = 1
_LEAST_SIDE = 128
"""A JPEG may be decoded at a fraction of its size, but at no less than this."""
_CHUNK = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scan:
    """What is known of ``N`` images.

    Attributes:
        readable: ``(N,)``, bool; of the others the rest is 0.
        sizes: width and height as a viewer shows them, ``(N, 2)``.
        digests: of their contents, ``(N,)``, 64 bits.
        means, squares: of each channel's pixels in 0..1, and of their squares, ``(N, 3)``.
    """

    readable: NDArray[np.bool_]
    sizes: NDArray[np.int32]
    digests: NDArray[np.uint64]
    means: NDArray[np.float32]
    squares: NDArray[np.float32]

    def of(self, rows: NDArray[np.int64]) -> "Scan":
        """Of some of the images."""
        return Scan(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def scan_images(source: ImageSource, number: int, title: str) -> Scan:
    """Decode all images of a source, in threads, and show how far that is."""
    found = Scan(
        readable=np.zeros(number, np.bool_),
        sizes=np.zeros((number, 2), np.int32),
        digests=np.zeros(number, np.uint64),
        means=np.zeros((number, 3), np.float32),
        squares=np.zeros((number, 3), np.float32),
    )

    def look(chunk: range) -> int:
        for index in chunk:
            _look(source, index, found)
        return len(chunk)

    chunks = [range(at, min(at + _CHUNK, number)) for at in range(0, number, _CHUNK)]
    with (
        Terminal().progress(f"reading {number:,} images of {title} once") as update,
        ThreadPoolExecutor(decoding_threads()) as pool,
    ):
        try:
            done = 0
            for looked_at in pool.map(look, chunks):
                done += looked_at
                update(done, number)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def kept_scan(source: ImageSource, number: int, title: str, folder: Path | None) -> Scan:
    """The scan that ``folder`` keeps of just these images; where there is none, it is made."""
    if folder is None:
        return scan_images(source, number, title)
    path = folder / f"{source.fingerprint()}.npz"
    kept = _read(path, number)
    if kept is None:
        kept = scan_images(source, number, title)
        content = io.BytesIO()
        np.savez(content, format=FORMAT, **{f.name: getattr(kept, f.name) for f in fields(Scan)})
        write_whole(path, content.getvalue())
    return kept


def digest_of(content: bytes) -> int:
    """64 bits."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _read(path: Path, number: int) -> Scan | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if int(arrays["format"]) != FORMAT:
                return None
            found = Scan(**{field.name: arrays[field.name] for field in fields(Scan)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return found if len(found.readable) == number else None


def _look(source: ImageSource, index: int, found: Scan) -> None:
    try:
        image = source.open(index)
        size = upright_size(image)
        if image.format in ("JPEG", "MPO"):
            image.draft("RGB", (_LEAST_SIDE, _LEAST_SIDE))
        pixels = np.asarray(upright_rgb(image)).reshape(-1, 3).astype(np.float32) / 255
        digest = source.digest(index)
    # Decoders of damaged files raise whatever they stumble over: struct.error, SyntaxError, ...
    except Exception:
        return
    found.sizes[index] = size
    found.digests[index] = digest
    found.means[index] = pixels.mean(0)
    found.squares[index] = np.square(pixels).mean(0)
    found.readable[index] = True


def listing_of(paths: Iterator[Path], root: Path) -> str:
    """Another one when a file comes, goes or changes."""
    digest = hashlib.sha256(os.fsencode(root.absolute()))
    for path in paths:
        about = path.stat()
        line = f"{path.relative_to(root).as_posix()}\0{about.st_size}\0{about.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]
