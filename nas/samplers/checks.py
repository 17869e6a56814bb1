"""Checks of samplers' settings."""


def check_range(field: str, value: float, low: float, high: float, *, whole: bool = True) -> None:
    """Refuse a number that is out of range, or no number.

    Raises:
        ValueError: it is.
    """
    fits = isinstance(value, int) if whole else isinstance(value, int | float)
    if isinstance(value, bool) or not fits or not low <= value <= high:
        kind = "an integer" if whole else "a number"
        raise ValueError(f"{field} must be {kind} in {low}..{high}, but got {value!r}")
