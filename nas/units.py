"""Latencies as people write them."""

import re

_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_MICRO = str.maketrans({"\N{MICRO SIGN}": "u", "\N{GREEK SMALL LETTER MU}": "u"})


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
