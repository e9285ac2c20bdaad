"""Probes on real functions of this machine: every value that an event shows is the one that was passed.

build      C text -> a program (the only caller of the host's compiler here)
generated  cases of the oracle -> a program that passes random values and tells what it passed
"""
