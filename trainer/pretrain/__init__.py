"""Pretraining of encoders on self-supervised tasks."""
