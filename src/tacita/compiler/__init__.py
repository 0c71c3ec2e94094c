"""Whole programs: recording, passes, the written forms, and what a run will cost.

Nothing here runs a program, and nothing knows PyTorch.
"""
