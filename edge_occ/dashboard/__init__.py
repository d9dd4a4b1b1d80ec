"""The page for a line: a subscriber of the broker, and a web server for browsers."""
