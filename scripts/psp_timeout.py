#!/usr/bin/env python
"""`ordersaga scenario psp_timeout`, on the stack of ORDERSAGA_STACK; --help says what it takes."""

import sys

from ops.cli import main

if __name__ == "__main__":
    main(["scenario", "psp_timeout", *sys.argv[1:]])
