"""Models saved by other packages: one file for each, with a closed table of what it may contain."""
