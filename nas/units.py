"""Latencies and amounts as people write them."""

import re

_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_MULTIPLES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "ki": 2.0**10, "mi": 2.0**20, "gi": 2.0**30}
_MICRO = str.maketrans({"\N{MICRO SIGN}": "u", "\N{GREEK SMALL LETTER MU}": "u"})


def verdict(measured_ms: float, target_ms: float) -> str:
    """What a report says of a latency: ``met`` or ``missed``."""
    return "met" if measured_ms <= target_ms else "missed"


def parse_latency_ms(text: object, field: str = "target_latency") -> float:
    """``"15ms"``, ``"800us"`` or ``"0.1s"`` → milliseconds.

    Raises:
        ValueError: no unit, no number, or not above zero.
    """
    written = str(text).strip()
    number, unit = re.fullmatch(r"(.*?)\s*([a-zµ]*)", written, re.DOTALL | re.IGNORECASE).groups()  # type: ignore[union-attr]
    unit = unit.lower().translate(_MICRO)
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if unit == "" and value == value:
        raise ValueError(
            f"{field}={written} has no unit, and milliseconds taken for seconds ruin a search; "
            f"write {field}={written}ms (or us, s)"
        )
    milliseconds = value * _MILLISECONDS.get(unit, float("nan"))
    if not 0 < milliseconds < float("inf"):
        raise ValueError(
            f"{field} must be a number above 0 with a unit of us, ms or s, for example "
            f"{field}=15ms, but got {written!r}"
        )
    return milliseconds


def format_latency(milliseconds: float) -> str:
    """``15ms``: a latency as ``parse_latency_ms`` reads it."""
    return f"{milliseconds:g}ms"


def parse_amount(text: object, *, field: str, unit: str = "") -> float:
    """``"3.5M"``, ``"300M"`` or, with a unit, ``"2MB"`` → a number of ones or bytes.

    Raises:
        ValueError: no number above 0, an unknown multiple, or another unit.
    """
    written = str(text).strip()
    number, rest = re.fullmatch(r"(.*?)\s*([a-z]*)", written, re.DOTALL | re.IGNORECASE).groups()  # type: ignore[union-attr]
    multiple = rest.lower().removesuffix(unit.lower())
    try:
        value = float(number) * _MULTIPLES[multiple]
    except (ValueError, KeyError):
        value = float("nan")
    if not 0 < value < float("inf") or not rest.lower().endswith(unit.lower()):
        example = f"2M{unit}"
        multiples = ", ".join(f"{name}{unit}" for name in ("k", "M", "G", "Mi"))
        raise ValueError(
            f"{field} must be a number above 0, with a multiple of {multiples} where there is one, "
            f"for example {field}={example}, but got {written!r}"
        )
    return value
