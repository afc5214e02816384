from tests.docs.world import registry

__all__ = ["registry"]
