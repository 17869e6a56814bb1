"""Measurements behind the claims; ``benchmarks/README.md`` says how each is reproduced."""
