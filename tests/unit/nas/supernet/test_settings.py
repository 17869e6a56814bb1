from typing import Any

import pytest

from nas.supernet import SupernetSettings
from nas.training import TrainSettings


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("samples", -1, "an integer in 0..1000"),
        ("samples", 1.5, "an integer in 0..1000"),
        ("distillation", 1.1, "a number in 0..1"),
        ("recalibration_batches", 0, "an integer in 1..100000"),
        ("checkpoint_s", -1.0, "a number in 0..1000000.0"),
    ],
)
def test_settings_out_of_range_are_named(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match="SupernetSettings") as caught:
        SupernetSettings(**{"train": TrainSettings(epochs=1), field: value})
    assert str(caught.value) == f"SupernetSettings.{field} must be {rule}, but got {value!r}"


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("channels_last", False, "True"),
        ("mixup", 0.2, "0"),
        ("precision", "bf16-mixed", "32-true"),
    ],
)
def test_what_the_supernets_own_step_does_not_do_is_refused(
    field: str, value: Any, allowed: str
) -> None:
    train = TrainSettings(epochs=1, **{field: value})
    with pytest.raises(ValueError, match="SupernetSettings") as caught:
        SupernetSettings(train=train)
    said = str(caught.value)
    assert said.startswith(f"SupernetSettings.train.{field} must be {allowed}, for ")
    assert said.endswith(f", but got {value}")


def test_what_it_does_do_is_taken() -> None:
    train = TrainSettings(epochs=1, accelerator="cpu", decay_vectors=False)  # type: ignore[arg-type]
    assert SupernetSettings(train=train).train is train
