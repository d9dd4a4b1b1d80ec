"""Review of the good images that look odd, and the refit without those that a person calls defective."""
