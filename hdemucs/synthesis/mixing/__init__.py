"""Studio effects and the mixing desk."""
