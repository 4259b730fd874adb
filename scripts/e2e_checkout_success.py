#!/usr/bin/env python
"""`ordersaga scenario e2e_checkout_success`, on the stack of ORDERSAGA_STACK; --help says what it takes."""

import sys

from ops.cli import main

if __name__ == "__main__":
    main(["scenario", "e2e_checkout_success", *sys.argv[1:]])
