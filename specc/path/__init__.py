"""Paths through structs: `f_path.dentry->d_name.name`, as a spec says it, walked through C types.

In: text, the type that it starts from, and a function that completes records.  Out: a `Walk`, or a Stop at the very word.

    path = parse_path("f_path.dentry->d_name.name", where)
    walk(Pointer(Record("struct", "file", None)), path, complete).type     # const unsigned char *
"""

from specc.path.local import LocalTypes, access, element_pair, root_key, whole_array
from specc.path.nouns import Access, Complete, Hop, Path, Step, Walk, told
from specc.path.syntax import MOST_STEPS, parse_path
from specc.path.walk import flexible_member, innermost, member_names, walk

__all__ = [
    "MOST_STEPS",
    "Access",
    "Complete",
    "Hop",
    "LocalTypes",
    "Path",
    "Step",
    "Walk",
    "access",
    "element_pair",
    "flexible_member",
    "innermost",
    "member_names",
    "parse_path",
    "root_key",
    "told",
    "walk",
    "whole_array",
]
