#!/usr/bin/env python
"""`ordersaga scenario reconciliation_lag`, on the stack of ORDERSAGA_STACK; --help says what it takes."""

import sys

from ops.cli import main

if __name__ == "__main__":
    main(["scenario", "reconciliation_lag", *sys.argv[1:]])
