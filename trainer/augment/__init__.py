"""Batched augmentations as tensor operations."""
