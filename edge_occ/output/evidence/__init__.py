"""Evidence of events on disk: frames, heatmaps, records and an operator's labels, in a ring."""
