from simulation.fixtures import schedules

__all__ = ["schedules"]
