from .fixtures import schedules

__all__ = ["schedules"]
