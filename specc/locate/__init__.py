"""Where user code is: the file that a spec's path means, and the place of a function in it.

find_file("libssl.so.3", None, {})                             # "/lib/x86_64-linux-gnu/libssl.so.3"
UserTargets().find(Target("libssl.so.3", "SSL_write", 0, None), None)
"""

from specc.locate.files import cached_libraries, find_file
from specc.locate.target import SAY_WHICH, UserPlace, UserTargets, stamp

__all__ = ["SAY_WHICH", "UserPlace", "UserTargets", "cached_libraries", "find_file", "stamp"]
