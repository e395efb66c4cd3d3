"""Commands of the `lesionforge` program, one function each.

The functions of this package are what the command line offers: their signatures and docstrings are
the options and the help. What takes seconds to import (torch, scipy, pandas and all that needs
them) is imported inside them, so that `--help` and a mistyped option are answered at once.
"""
