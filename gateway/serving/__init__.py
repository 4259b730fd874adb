"""How connections become requests: read by the main loop, carried out by a thread only once they are complete.

Owns: slow, silent and broken clients. Must not know: endpoints, who asks, or any service.
``worker`` is the gunicorn worker; ``incoming`` knows when a request is complete, ``patience`` whose time is up,
``refusals`` how what never becomes a request is answered.
"""
