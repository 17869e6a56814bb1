"""Latencies as people write them, and what is said of those that mean nothing."""

import pytest

from nas.units import parse_latency_ms


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("15ms", 15.0),
        ("800us", 0.8),
        ("0.1s", 100.0),
        ("800µs", 0.8),  # the micro sign
        ("800μs", 0.8),  # the Greek letter
        ("15MS", 15.0),
        ("2S", 2000.0),
        (" 15 ms ", 15.0),
        ("15\tms", 15.0),
        ("1.5e1ms", 15.0),
        ("1e-3s", 1.0),
        (".5ms", 0.5),
        ("+3ms", 3.0),
    ],
)
def test_a_number_with_a_unit(text: str, milliseconds: float) -> None:
    assert parse_latency_ms(text) == pytest.approx(milliseconds, rel=1e-12)


@pytest.mark.parametrize("text", ["15", 15, 15.0, "0.1", "1e3"])
def test_a_number_without_a_unit_is_answered_with_what_to_write(text: object) -> None:
    with pytest.raises(ValueError, match="has no unit") as caught:
        parse_latency_ms(text)
    assert f"write target_latency={text}ms (or us, s)" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "0ms", "-3ms", "infms", "inf ms", "nanms", "nan ms", "abc", "", "ms", "15m", "15min",
        "15 ms 3", "1,5ms", "15ms!", "15\nus\n3", "1e308s", "1e-323us", "nan", None, True, "0x1ms",
    ],
)  # fmt: skip
def test_what_is_no_latency_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="must be a number above 0 with a unit") as caught:
        parse_latency_ms(text)
    message = str(caught.value)
    assert "us, ms or s, for example target_latency=15ms, but got " in message
    assert message.endswith(repr(str(text).strip()))


def test_the_field_is_named_as_it_was_given() -> None:
    with pytest.raises(ValueError, match=r"^limit must be .* for example limit=15ms, but got 'x'$"):
        parse_latency_ms("x", field="limit")
