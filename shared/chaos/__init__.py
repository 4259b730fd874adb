"""Chaos switches: trouble made on purpose, with a target and an end.

Owns: which kinds there are, how they are kept, what a process has in hand of them.
Must not know: how a consumer, a relay or a provider carries one out.

A switch is a row in the database of the service that it troubles. Whoever carries it out reads it in the background,
at most once a second, and lets go of it at its end by itself.
"""
