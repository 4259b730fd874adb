"""Benchmarks: how fast sagas run on this machine, with everything on it. Figures, not promises."""
