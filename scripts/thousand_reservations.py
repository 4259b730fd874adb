#!/usr/bin/env python
"""`ordersaga scenario thousand_reservations`, on the stack of ORDERSAGA_STACK; --help says what it takes."""

import sys

from ops.cli import main

if __name__ == "__main__":
    main(["scenario", "thousand_reservations", *sys.argv[1:]])
