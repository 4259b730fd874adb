"""The client for Nameko RPC: many calls at once over one connection of this process.

Owns: calls, their deadlines, and the connection that carries them. Must not know: HTTP, nor what a
method means.
``client`` is what the gateway uses; ``pending`` holds the calls under way, ``link`` keeps a connection up,
``session`` is one such connection, ``wire`` is Nameko's message format.
"""

from gateway.rpc.client import RpcClient

__all__ = ["RpcClient"]
