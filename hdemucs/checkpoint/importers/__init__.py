"""Models saved by other packages: one module per package, with a closed table of what files may contain."""
