"""Who somebody is: accounts and passwords, tokens and their keys, the guard before each request, rate limits.

Owns: how somebody proves who they are. Must not know: what anybody may do with an order; views say which roles they are
for (gateway.access), and the services decide about everything else.
"""
