#!/usr/bin/env python
"""`ordersaga scenario broker_partition`, on the stack of ORDERSAGA_STACK; --help says what it takes."""

import sys

from ops.cli import main

if __name__ == "__main__":
    main(["scenario", "broker_partition", *sys.argv[1:]])
