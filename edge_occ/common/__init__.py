"""What both halves share and what knows nothing of inspection: errors, files, progress, signals, pictures, settings."""
