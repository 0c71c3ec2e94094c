"""Benchmarks. Each one prints its figures and writes bench/results/<name>.json."""
