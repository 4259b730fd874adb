"""From the results of a run to docs/performance.md and its plots: nobody copies a figure by hand.

``svg`` draws axes, lines and bars; ``charts`` says what is drawn; ``tables`` writes the tables; ``page`` puts all of it
between the marks of the page. ``python -m benchmarks.plots`` does it.
"""
