"""What a fault campaign puts into running processes. Imports nothing but the standard library, and little of that:
it comes before everything else, also before eventlet has patched the sockets.
"""
