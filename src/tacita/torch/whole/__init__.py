"""Whole networks: from an nn.Module to a program that parties keep, and back to tensors."""
