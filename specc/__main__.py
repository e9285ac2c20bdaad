"""`python -m specc`: the same as the command `specc`, for where the scripts of an environment are not on PATH.

python -m specc --version
"""

import sys

from specc.cli import main

if __name__ == "__main__":
    sys.exit(main())
