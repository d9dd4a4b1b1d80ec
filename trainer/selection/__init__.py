"""Model selection by synthetic defects on held-out normal images."""
