"""Figures as the pages write them."""

from collections.abc import Iterable

NONE = "–"
_GAP = "\N{NO-BREAK SPACE}"


def percent(share: float | None, digits: int = 2) -> str:
    """``0.9431`` → ``94.31 %``."""
    return NONE if share is None else f"{100 * share:.{digits}f}{_GAP}%"


def signed_percent(share: float, digits: int = 1) -> str:
    """``-0.05`` → ``−5.0 %``."""
    return f"{100 * share:+.{digits}f}{_GAP}%".replace("-", "−")


def millions(count: float) -> str:
    """``2_618_848`` → ``2.62 M``; what is much less has thousands."""
    if count < 1e5:
        return f"{count / 1e3:.1f}{_GAP}k"
    return f"{count / 1e6:.2f}{_GAP}M"


def decimals_ms(values: Iterable[float | None]) -> int:
    """How many decimals a column of milliseconds needs to be read to about 0.1 %."""
    largest = max((abs(value) for value in values if value is not None), default=1.0)
    return 3 if largest < 10 else 2 if largest < 1000 else 1


def ms(milliseconds: float | None, digits: int | None = None) -> str:
    """``14.2`` → ``14.20 ms``."""
    if milliseconds is None:
        return NONE
    digits = decimals_ms([milliseconds]) if digits is None else digits
    return f"{milliseconds:.{digits}f}{_GAP}ms"
