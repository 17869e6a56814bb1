"""The number formats that a network runs in."""

from enum import StrEnum


class Precision(StrEnum):
    """fp32; int8 by onnxruntime's static QDQ quantisation; fp16 where a provider runs it."""

    FP32 = "fp32"
    INT8 = "int8"
    FP16 = "fp16"
