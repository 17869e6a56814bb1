"""Looking at every image once: which can be decoded, how large they are, what their colours are.

A file that breaks off in its middle is found by decoding it, and by nothing less. A scan costs less
than an epoch of training does for decoding alone, and what it finds is kept in a file: it is done
once a data set, not once a run or a worker.

Damaged images are left out. An image that the system does not hand over may be whole, and what is
no image at all is a mistake in the data set: both are errors, and nothing is kept.
"""

import errno
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from latency.console import Terminal
from latency.files import write_whole
from nas.data.decoding import decoding_threads, upright_rgb, upright_size
from nas.data.source import ImageSource, NotAnImageError

FORMAT = 2
_LEAST_SIDE = 128
"""A JPEG may be decoded at a fraction of its size, but at no less than this."""
_CHUNK = 32
_LONGEST_REASON = 160


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scan:
    """What is known of ``N`` images.

    Attributes:
        readable: ``(N,)``, bool; of the others the rest is 0.
        sizes: width and height as a viewer shows them, ``(N, 2)``.
        digests: of their contents, ``(N,)``, 64 bits.
        means, squares: of each channel's pixels in 0..1, and of their squares, ``(N, 3)``.
        reason: why the first of those that are not readable is not.
    """

    readable: NDArray[np.bool_]
    sizes: NDArray[np.int32]
    digests: NDArray[np.uint64]
    means: NDArray[np.float32]
    squares: NDArray[np.float32]
    reason: str = ""


def scan_images(source: ImageSource, number: int, title: str) -> Scan:
    """Decode all images of a source, in threads, and show how far that is.

    Raises:
        ValueError: the system does not hand over a file, or something is no image.
    """
    found = Scan(
        readable=np.zeros(number, np.bool_),
        sizes=np.zeros((number, 2), np.int32),
        digests=np.zeros(number, np.uint64),
        means=np.zeros((number, 3), np.float32),
        squares=np.zeros((number, 3), np.float32),
    )
    reasons: dict[int, str] = {}

    def look(chunk: range) -> int:
        for index in chunk:
            reason = _look(source, index, title, found)
            if reason is not None:
                reasons[index] = reason
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
    return replace(found, reason=reasons[min(reasons)]) if reasons else found


def kept_scan(source: ImageSource, number: int, title: str, folder: Path | None) -> Scan:
    """The scan that ``folder`` keeps of just these images; where there is none, it is made.

    Raises:
        ValueError: as ``scan_images``.
    """
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
            kept = {field.name: arrays[field.name] for field in fields(Scan)}
            found = Scan(**(kept | {"reason": str(kept["reason"])}))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return found if len(found.readable) == number else None


def reason_of(error: Exception) -> str:
    """Why something cannot be read, in a few words; a damaged image's are pillow's own."""
    if isinstance(error, UnidentifiedImageError):
        return "no image format that pillow knows"
    words = " ".join(str(error).split())[:_LONGEST_REASON]
    if isinstance(error, OSError) and words:
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _look(source: ImageSource, index: int, title: str, found: Scan) -> str | None:
    """Fill in what is found of an image, or say why it cannot be read."""
    try:
        digest = source.digest(index)  # first: no decoder stands between the system and its error
        image = source.open(index)
        size = upright_size(image)
        if image.format in ("JPEG", "MPO"):
            image.draft("RGB", (_LEAST_SIDE, _LEAST_SIDE))
        pixels = np.asarray(upright_rgb(image)).reshape(-1, 3).astype(np.float32) / 255
    except NotAnImageError as error:
        raise ValueError(f"{source.name(index)} of {title}: {error}") from error
    # Decoders of damaged files raise whatever they stumble over: struct.error, SyntaxError, ...
    except Exception as error:
        if isinstance(error, OSError) and _is_the_systems(error):
            raise ValueError(
                f"{_place(source.name(index), error)} of {title} cannot be read: {error.strerror}; "
                "it may be whole, so it is not left out: mend that, or take it away"
            ) from error
        return reason_of(error)
    found.sizes[index] = size
    found.digests[index] = digest
    found.means[index] = pixels.mean(0)
    found.squares[index] = np.square(pixels).mean(0)
    found.readable[index] = True
    return None


def _is_the_systems(error: OSError) -> bool:
    """Pillow's own have no number; EINVAL is of a decoder that seeks where a damaged file says."""
    return error.errno not in (None, errno.EINVAL)


def _place(name: str, error: OSError) -> str:
    """With the path of the file, where the name of the image does not tell."""
    path = "" if error.filename is None else os.fsdecode(error.filename)
    return name if not path or path in name or name in path else f"{name} ({path})"


def listing_of(paths: Iterator[Path], root: Path) -> str:
    """Another one when a file comes, goes or changes."""
    digest = hashlib.sha256(os.fsencode(root.absolute()))
    for path in paths:
        about = path.stat()
        line = f"{path.relative_to(root).as_posix()}\0{about.st_size}\0{about.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]
