"""Finds where arguments really are by compiling and running code; it holds no rule of any ABI.

    generate  ->  Case  ->  experiment  ->  Measurement  ->  compare(what specc says)  ->  faults

`shapes` is the noun (C types as data and the text of a case), `runtime.S` and `runtime.c` are the
part that runs, and nothing here may import specc but `compare`, which imports it when called.
"""
