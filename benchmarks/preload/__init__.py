"""A million finished orders in the tables, without placing a million orders.

A few hundred orders are really placed, paid and shipped; then every row that they left behind, in all four databases,
is copied many times: each copy with ids and times of its own, the same ones in every database. So the tables look as if
the services had filled them, whatever columns they have by now, and the invariants hold.
``preload`` does it, ``tables`` says what is copied, ``copying`` makes the statements, ``indexes`` takes indexes away
for the time and brings them back.
"""

from benchmarks.preload.preload import Preload

__all__ = ["Preload"]
