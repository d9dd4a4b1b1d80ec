"""Modules that both halves share: errors, files, progress, signals, images, settings."""
