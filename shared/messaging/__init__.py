"""Events and requests in and out of RabbitMQ, written once for every service.

Owns: connections, the batch consumer, retries, dead letters, RPC, the publisher of the relay.
Must not know: any event's meaning or any table.
"""
