"""Images to learn from: finding, checking and reading them."""
