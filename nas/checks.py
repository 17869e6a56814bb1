"""Checks of settings, in one wording."""


def check_range(field: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    """Refuse a number that is out of range, or no number (a bool is none).

    Raises:
        ValueError: it is; the message names field, value and what is allowed.
    """
    fits = isinstance(value, int) if whole else isinstance(value, int | float)
    if isinstance(value, bool) or not fits or not low <= value <= high:  # type: ignore[operator]
        kind = "an integer" if whole else "a number"
        raise ValueError(f"{field} must be {kind} in {low}..{high}, but got {value!r:.80}")


def check_fields(
    settings: object, low: float, high: float, *fields: str, whole: bool = False
) -> None:
    """``check_range`` of fields of a settings class."""
    for field in fields:
        name = f"{type(settings).__name__}.{field}"
        check_range(name, getattr(settings, field), low, high, whole=whole)
