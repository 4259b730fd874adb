"""Connectors: the row changes of a database, from its log into RabbitMQ.

One process for each captured database: ``python -m cdc order_service``. Needs the extra `cdc` and Java (`make cdc`).
"""
