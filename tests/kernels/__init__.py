"""What specc shows on real kernels: Debian's, each in a virtual machine, with triggers whose arguments are known.

    make test-kernels                                   # all four
    python -m pytest tests/kernels -k 6.12              # one
    PYTHONPATH=tests python -m kernels.machine 6.12 -- uname -a       # a command inside

packages  gets and unpacks the kernels          machine   boots one, runs a command, gives back what it said
plan      what is run inside, and the specs     guest     runs that, inside
functions what each function must have shown    triggers.c  calls them
"""
