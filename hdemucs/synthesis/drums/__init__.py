"""Drum kits, drum machines, and the drummer who plays them."""
