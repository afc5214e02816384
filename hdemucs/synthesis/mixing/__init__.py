"""Effects, and the production of a mixture from its stems."""
