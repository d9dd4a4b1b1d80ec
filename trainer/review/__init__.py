"""Review of the good images that look odd, and the refit without the defective or with events marked as good."""
