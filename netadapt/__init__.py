"""Shaving a network by the clock: NetAdapt (Yang et al., 2018), as MobileNetV3 has it."""
