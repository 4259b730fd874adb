#!/usr/bin/env python
"""`ordersaga scenario oversell`, on the stack of ORDERSAGA_STACK; --help says what it takes."""

import sys

from ops.cli import main

if __name__ == "__main__":
    main(["scenario", "oversell", *sys.argv[1:]])
