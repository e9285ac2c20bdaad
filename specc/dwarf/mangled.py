"""How many parameters a C++ function has by its mangled name (Itanium C++ ABI, 5.1).

In: a symbol of a C++ function.  Out: the number, without `this`; None for a name with a construct that is not followed.

    parameter_count("_Z3nc2a2NCa")             # 3
    parameter_count("_Z2pkIJilEEiDpT_i")       # 3: the pack stands for two
    parameter_count("_Z1fIiEDTcl1gfp_EET_")    # None: it has an expression

Names are not turned into text, and substitutions are not resolved: one stands for one type, whatever that is. The
exception, one that may stand for the expansion of a pack, is not followed.
"""

from __future__ import annotations

import re
from typing import Final

_PLAIN: Final = frozenset("vwbahctsijlmxynofdegz")
_D_PLAIN: Final = frozenset("defhisuacn")  # Dd, De, Df: decimal; Dn: nullptr_t; Da, Dc: auto
_OPERATOR_NAMES: Final = """
    nw na dl da aw ps ng ad de co pl mi ml dv rm an or eo aS pL mI mL dV rM aN oR eO ls rs lS rS eq ne lt gt
    le ge ss nt aa oo pp mm cm pm pt cl ix qu
"""
_OPERATORS: Final = frozenset(_OPERATOR_NAMES.split())
_NUMBER: Final = re.compile(r"\d+")
_SUBSTITUTION: Final = re.compile(r"S(?:[0-9A-Z]*_|[absiod])")
_PARAMETER: Final = re.compile(r"T(\d*)_")
_LITERAL: Final = re.compile(r"n?[0-9a-f]*E")
_DISCRIMINATOR: Final = re.compile(r"_\d|__\d+_")
_FLOATING: Final = re.compile(r"DF\d+[_bx]")
_SIZED: Final = re.compile(r"D[BU]\d+_|Dv\d+_p?|A\d*_")
_DEEPEST: Final = 64


class _NotFollowed(ValueError):
    pass


def parameter_count(name: str) -> int | None:
    if not name.startswith("_Z"):
        return None
    reader = _Reader(name[2:].partition("@")[0].partition(".")[0])
    try:
        count = reader.encoding()
    except _NotFollowed:
        return None
    return count if reader.at == len(reader.text) else None


class _Reader:
    def __init__(self, text: str) -> None:
        self.text: Final = text
        self.at = 0
        self._depth = 0
        self._packs: list[int | None] = []  # of the last template arguments: what each stands for, None for no pack
        self._used: list[int] = []  # template parameters, by their numbers
        self._expanded = False  # whether there was an expansion, which a substitution can stand for

    # ---- names

    def encoding(self) -> int | None:
        """A function's name and types; the number of its parameters, None for a variable's name."""
        self._deeper()
        templated, made_up = self._name()
        if self.at == len(self.text) or self._peek() == "E":
            self._depth -= 1
            return None
        if templated and not made_up:
            self._type()  # 5.1.5.3: of templates, the type of the result comes first
        if self._peek() == "v" and (self.at + 1 == len(self.text) or self.text[self.at + 1] == "E"):
            self.at += 1
            self._depth -= 1
            return 0
        count = 0
        while self.at < len(self.text) and self._peek() != "E":
            if self._take("z"):
                break
            again = _SUBSTITUTION.match(self.text, self.at)
            start = self.at
            packs = self._pack(templated) if self._take("Dp") else self._type()
            if self._expanded and again is not None and again.end() == self.at and start < self.at:
                raise _NotFollowed
            count += packs
        self._depth -= 1
        return count

    def _name(self) -> tuple[bool, bool]:
        """Whether it ends in template arguments, and whether it is one of those that have no type of a result."""
        if self._take("N"):
            return self._nested()
        if self._take("Z"):
            self.encoding()
            self._need("E")
            if self._take("s"):
                self._match(_DISCRIMINATOR, optional=True)
                return False, False
            if self._take("d"):
                self._match(_NUMBER, optional=True)
                self._need("_")
            found = self._name()
            self._match(_DISCRIMINATOR, optional=True)
            return found
        made_up = False
        if self._take("St") or self._peek() != "S":
            made_up = self._unqualified()
        else:
            self._match(_SUBSTITUTION)
        return self._template_arguments(), made_up

    def _nested(self) -> tuple[bool, bool]:
        while self._peek() in ("r", "V", "K"):
            self.at += 1
        if self._peek() in ("R", "O"):
            self.at += 1
        templated = made_up = False
        while not self._take("E"):
            if self._template_arguments():
                templated = True
                continue
            templated = made_up = False
            if self._peek() == "T":
                self._match(_PARAMETER)
            elif self._peek() == "S" and not self._take("St"):
                self._match(_SUBSTITUTION)
            elif self._peek() == "C" or re.match(r"D\d", self.text[self.at :]):
                self._structor()
                made_up = True
            elif not self._take("M"):
                made_up = self._unqualified()
        return templated, made_up

    def _structor(self) -> None:
        """C1, C2, D0, D1, ..., and CI2 with the base whose constructor it is."""
        self.at += 1
        inherited = self._take("I")
        if not re.match(r"[0-5]", self._peek()):
            raise _NotFollowed
        self.at += 1
        if inherited:
            self._type()
        self._tags()

    def _unqualified(self) -> bool:
        """Whether it is a conversion operator."""
        self._take("F")
        self._take("L")
        conversion = False
        if self._take("Ul"):
            while not self._take("E"):
                self._type()
            self._match(_NUMBER, optional=True)
            self._need("_")
        elif self._take("Ut"):
            self._match(_NUMBER, optional=True)
            self._need("_")
        elif self._take("cv"):
            self._type()
            conversion = True
        elif self._take("li"):
            self._source_name()
        elif self.text[self.at : self.at + 2] in _OPERATORS:
            self.at += 2
        else:
            self._source_name()
        self._tags()
        return conversion

    def _tags(self) -> None:
        while self._take("B"):
            self._source_name()

    def _source_name(self) -> None:
        length = int(self._match(_NUMBER)[0])
        if not 0 < length <= len(self.text) - self.at:
            raise _NotFollowed
        self.at += length

    def _template_arguments(self) -> bool:
        if not self._take("I"):
            return False
        packs: list[int | None] = []
        while not self._take("E"):
            packs.append(self._template_argument())
        self._packs = packs
        return True

    def _template_argument(self) -> int | None:
        """How many arguments a pack stands for; None for what is none."""
        if self._take("J"):
            self._deeper()
            count = 0
            while not self._take("E"):
                self._template_argument()
                count += 1
            self._depth -= 1
            return count
        if self._take("L"):
            if self._take("_Z"):
                self.encoding()
                self._need("E")
            else:
                self._type()
                self._match(_LITERAL)
            return None
        self._type()
        return None

    # ---- types

    def _pack(self, templated: bool) -> int:
        """What follows Dp, as often as the packs in it say."""
        if not templated:
            raise _NotFollowed  # the pack is one of an enclosing template
        packs, before = self._packs, len(self._used)
        self._type()
        used = [packs[n] for n in self._used[before:] if n < len(packs)]
        counts = {n for n in used if n is not None}
        self._packs, self._expanded = packs, True
        if len(counts) != 1:
            raise _NotFollowed
        return counts.pop()

    def _type(self) -> int:
        self._deeper()
        packs = self._packs
        self._one_type()
        self._packs = packs  # T_ in a function's types is of the function's own template arguments
        self._depth -= 1
        return 1

    def _one_type(self) -> None:
        first = self._peek()
        if first in _PLAIN:
            self.at += 1
        elif first in ("r", "V", "K", "P", "R", "O", "C", "G"):
            self.at += 1
            self._type()
        elif first == "D":
            self._d_type()
        elif first == "F":
            self._function_type()
        elif first == "A":
            self._match(_SIZED)
            self._type()
        elif first == "M":
            self.at += 1
            self._type()
            self._type()
        elif first == "u":
            self.at += 1
            self._source_name()
            self._template_arguments()
        elif first == "U":
            self.at += 1
            self._source_name()
            self._template_arguments()
            self._type()
        elif first == "T":
            self._used.append(0 if (number := self._match(_PARAMETER)[1]) == "" else int(number) + 1)
            self._template_arguments()
        elif first == "S" and not self.text.startswith("St", self.at):
            self._match(_SUBSTITUTION)
            self._tags()
            self._template_arguments()
        elif first in ("S", "N", "Z") or first.isdigit():
            self._name()
        else:
            raise _NotFollowed

    def _d_type(self) -> None:
        second = self.text[self.at + 1 : self.at + 2]
        if second in _D_PLAIN:
            self.at += 2
        elif second == "F":
            self._match(_FLOATING)
        elif second in ("B", "U"):
            self._match(_SIZED)
        elif second == "v":
            self._match(_SIZED)
            self._type()
        elif second in ("o", "x"):
            self.at += 2
            self._function_type()
        elif second == "p":
            self.at += 2
            self._type()
            self._expanded = True
        else:
            raise _NotFollowed

    def _function_type(self) -> None:
        self._need("F")
        self._take("Y")
        while not self._take("E"):
            if self._peek() in ("R", "O") and self.text[self.at + 1 : self.at + 2] == "E":
                self.at += 1
                continue
            self._type()

    # ---- characters

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _NotFollowed

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, what: str) -> bool:
        if not self.text.startswith(what, self.at):
            return False
        self.at += len(what)
        return True

    def _need(self, what: str) -> None:
        if not self._take(what):
            raise _NotFollowed

    def _match(self, pattern: re.Pattern[str], *, optional: bool = False) -> re.Match[str]:
        found = pattern.match(self.text, self.at)
        if found is None:
            if not optional:
                raise _NotFollowed
            found = re.compile("").match(self.text, self.at)
            assert found is not None
        self.at = found.end()
        return found
