"""Audio formats: one file a library that decodes and encodes them."""
