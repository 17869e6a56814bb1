"""Settings of training: what is refused, and what a training is known again by."""

from dataclasses import replace
from typing import Any

import pytest

from nas.training import TrainSettings
from nas.training.settings import Accelerator, OptimizerKind, Precision, ScheduleKind


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("epochs", 0, "an integer in 1..100000"),
        ("epochs", 2.0, "an integer in 1..100000"),
        ("epochs", True, "an integer in 1..100000"),
        ("batch_size", 1, "an integer in 2..65536"),
        ("accumulate", 17, "an integer in 1..16"),
        ("learning_rate", 0, "a number in 1e-12..1000.0"),
        ("learning_rate", float("nan"), "a number in 1e-12..1000.0"),
        ("learning_rate", "0.1", "a number in 1e-12..1000.0"),
        ("rate_batch", 0, "an integer in 1..1000000"),
        ("momentum", 1.0, "a number in 0..0.9999"),
        ("square_decay", 1, "a number in 0.0..0.999999"),
        ("epsilon", 0, "a number in 1e-12..1.0"),
        ("weight_decay", -1e-4, "a number in 0..1"),
        ("label_smoothing", 1, "a number in 0..0.99"),
        ("warmup", 1.5, "a number in 0..1"),
        ("warmup_epochs", -1, "a number in 0.0..100000.0"),
        ("decay_rate", 1.5, "a number in 0.01..1"),
        ("decay_epochs", 0, "a number in 0.01..100000.0"),
        ("dropout", 1, "a number in 0.0..0.95"),
        ("mixup", -0.1, "a number in 0..10"),
        ("cutmix", "1", "a number in 0..10"),
        ("ema_decay", 1, "a number in 0.0..0.9999999"),
        ("gradient_clip", 0, "a number in 1e-06..1000000.0"),
        ("threads", 0, "an integer in 1..1024"),
        ("optimizer", "adam", "one of sgd, rmsprop, adamw"),
        ("schedule", None, "one of cosine, step_exponential"),
        ("precision", "bf16", "one of 32-true, bf16-mixed, 16-mixed"),
        ("accelerator", "tpu", "one of auto, cpu, cuda"),
        ("decay_vectors", 1, "true or false"),
        ("channels_last", "yes", "true or false"),
        ("compile", None, "true or false"),
        ("augmentation", 0.5, "null or a nas.data.Augmentation"),
    ],
)
def test_what_is_out_of_range_is_named(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match="TrainSettings") as caught:
        TrainSettings(**{"epochs": 4, field: value})
    assert str(caught.value) == f"TrainSettings.{field} must be {rule}, but got {value!r}"


def test_warm_up_is_no_longer_than_training() -> None:
    with pytest.raises(ValueError, match=r"warmup_epochs must be in 0\.\.4, .* but got 5"):
        TrainSettings(epochs=4, warmup_epochs=5)


def test_words_become_kinds() -> None:
    words: Any = {
        "optimizer": "rmsprop",
        "schedule": "step_exponential",
        "precision": "bf16-mixed",
        "accelerator": "cpu",
    }
    settings = TrainSettings(epochs=1, **words)
    assert settings.optimizer is OptimizerKind.RMSPROP
    assert settings.schedule is ScheduleKind.STEP_EXPONENTIAL
    assert settings.precision is Precision.BFLOAT16
    assert settings.accelerator is Accelerator.CPU


def test_where_and_how_fast_decides_nothing() -> None:
    settings = TrainSettings(epochs=1)
    elsewhere = replace(
        settings, threads=4, accelerator=Accelerator.CPU, compile=True, channels_last=False
    )
    assert elsewhere.decisive() == settings.decisive()
    assert settings.decisive()["learning_rate"] == "0.05"
    assert replace(settings, ema_decay=0.5).decisive() != settings.decisive()
    assert replace(settings, precision=Precision.BFLOAT16).decisive() != settings.decisive()
