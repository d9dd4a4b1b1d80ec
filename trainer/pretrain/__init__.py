"""Stage 1: training encoders on self-supervised tasks."""
