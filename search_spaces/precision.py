"""The number formats that a network is timed in."""

from enum import StrEnum


class Precision(StrEnum):
    """What a network computes with. Images and logits are float32 throughout."""

    FP32 = "fp32"
    INT8 = "int8"
    FP16 = "fp16"
