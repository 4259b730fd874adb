"""What the demos play, through the gateway as customers, sellers and operators would.

shop, player      the short demo: a small catalogue, orders followed one after the other
script            one flow of the long demo: what it does, what it expects, what it sees
the others        the flows, by what they are about
"""
