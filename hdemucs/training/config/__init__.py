"""Configuration of a training run: schema, loading and checks."""
