"""The whole stack under load while everything around it breaks; then its databases are asked whether all is whole.

``python -m tests.faults`` starts a stack of its own in .stack-faults, lets customers order all the time, does one fault
after another, and stops at the first broken promise, with the seed and the evidence kept.
"""
