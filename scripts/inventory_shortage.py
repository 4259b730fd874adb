#!/usr/bin/env python
"""`ordersaga scenario inventory_shortage`, on the stack of ORDERSAGA_STACK; --help says what it takes."""

import sys

from ops.cli import main

if __name__ == "__main__":
    main(["scenario", "inventory_shortage", *sys.argv[1:]])
