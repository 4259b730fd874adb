#!/usr/bin/env python
"""`ordersaga scenario schema_drift`, on the stack of ORDERSAGA_STACK; --help says what it takes."""

import sys

from ops.cli import main

if __name__ == "__main__":
    main(["scenario", "schema_drift", *sys.argv[1:]])
