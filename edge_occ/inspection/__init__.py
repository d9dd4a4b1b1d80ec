"""Decisions on single frames and on sequences of frames: no thread, no clock, no input or output."""
