"""How fast it could be at best: the same rows and the same messages, without anybody thinking about them.

``databases`` writes what an order leaves behind, with pgbench; ``broker`` publishes and consumes as many messages as an
order needs, bare; ``measure`` puts both together.
"""
