"""The brokers that an AMQP_URI names, as every client library here reads them.

Owns: how several nodes stand in one URI. Must not know: connections, or any client library.
"""

from __future__ import annotations


def split_addresses(amqp_uri: str) -> list[str]:
    """The brokers of an ``AMQP_URI`` (several are separated by ``;``), each as pika and kombu read it.

    A URI ending in ``//`` names the virtual host "/" for Nameko, but the empty one for pika.
    """
    addresses = [part.strip() for part in amqp_uri.split(";") if part.strip()]
    return [uri[:-1] + "%2F" if uri.endswith("//") else uri for uri in addresses]
