"""Commands of the `lesionforge` program, one function each."""
