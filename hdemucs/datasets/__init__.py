"""Songs with stems on disk: found, scanned and read."""
