"""C headers -> prototypes: preprocess, split into chunks, and give pycparser only the chunks that are needed.

In: header files, or preprocessed text, or one declaration.  Out: `Prototype`s and types with their layout.

    text = preprocess([Path("openssl/ssl.h")], [], {}, ["clang"]).text
    HeaderIndex(text).prototype("SSL_write")
    parse_declaration("int f(struct foo *p)", None, where)

The stages, one module each: `preprocess` (run `cc -E`), `scan` (chunks and line markers), `names` (what a chunk
declares), `chunks` (which of them may declare a name), `clean` (GNU C to what pycparser reads), `syntax` (trees, attributes in their places), `convert`,
`records`, `constant` and `functions` (trees to types, values and prototypes),
`index` (by name, on demand), `macros` (those that are integers), `declaration` (the spec's `prototype:`).
"""

from specc.headers.declaration import parse_declaration
from specc.headers.index import HeaderIndex, parse_prototypes
from specc.headers.macros import Macros
from specc.headers.preprocess import Preprocessed, Preprocessing, preprocess, start_preprocess

__all__ = [
    "HeaderIndex",
    "Macros",
    "Preprocessed",
    "Preprocessing",
    "parse_declaration",
    "parse_prototypes",
    "preprocess",
    "start_preprocess",
]
