"""Random nests of structs, and random paths through them: what C says is at their ends.

In: a random generator.  Out: records as C, with their members in one order or in another; paths; C that fills an object of
each record and tells what is at the end of each path.

    nest = Nest(random.Random(7), records=12)
    nest.declarations()                          # "struct s0 { ... };" and so on
    nest.paths(300)[0].spec                      # '{field: "m3->m1[2].m5"}'

Nothing here is specc's: members are found, offsets counted and bits cut by the C compiler alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# Spelling, bytes, and how printf shows it.
SCALARS = {
    "signed char": 1, "unsigned char": 1, "short": 2, "unsigned short": 2, "int": 4, "unsigned int": 4, "long": 8,
    "unsigned long": 8, "long long": 8,
}  # fmt: skip

MORE = 2  # elements behind the one that a pointer leads to


@dataclass
class Member:
    """`kind` is "scalar", "bits", "bool", "enum", "double", "pointer" (to `record`), "text", "string", "number" (a pointer
    to one), "table" (a pointer to pointers to `record`), "array", "record", "records", or "inside" (an anonymous struct or union of `members`)."""

    name: str
    kind: str
    ctype: str = ""
    count: int = 0
    record: int = -1
    union: bool = False
    members: list[Member] = field(default_factory=list)

    def text(self, changed: Mapping[str, str]) -> str:
        match self.kind:
            case "bits":
                return f"{self.ctype} {self.name} : {self.count};"
            case "text":
                return f"char {self.name}[{self.count}];"
            case "array":
                return f"{self.ctype} {self.name}[{self.count}];"
            case "pointer":
                return f"struct s{self.record} *{self.name};"
            case "table":
                return f"struct s{self.record} **{self.name};"
            case "record":
                return f"struct s{self.record} {self.name};"
            case "records":
                return f"struct s{self.record} {self.name}[{self.count}];"
            case "string":
                return f"const char *{self.name};"
            case "number":
                return f"{self.ctype} *{self.name};"
            case "inside":
                inner = " ".join(m.text(changed) for m in self.members)
                return f"{'union' if self.union else 'struct'} {{ {inner} }};"
            case _:
                return f"{changed.get(self.name, self.ctype)} {self.name};"


@dataclass
class Path:
    """`text` goes through pointers with `->` or `.`; `tests` are the pointers on the way, in C, from the object `o`; `end`
    is what is there, in C."""

    root: int
    text: str
    tests: list[str]
    end: str
    last: Member
    option: str

    def spec(self, name: str) -> str:
        return f'{{o: {{field: "{self.text}", as: {name}{self.option}}}}}'

    def tells(self, number: int) -> str:
        """C that prints the value as JSON, on a line of its own, or null where a pointer leads nowhere."""
        guard = " && ".join(self.tests) or "1"
        kind, end = self.last.kind, self.end
        match kind:
            case "text" if "bytes" in self.option:
                told = f"hex({end}, sizeof({end}));"
            case "text":
                told = f"text({end}, sizeof({end}));"
            case "string":
                told = f"text({end}, 15);"
                guard += f" && {end}"
            case "number" if "deref" in self.option:
                told = f'printf("%lld", (long long)*{end});'
                guard += f" && {end}"
            case "number" | "pointer" | "table":
                told = f'printf("%lu", SHOWN({end}));'
            case "array":
                told = f"list({end}[i], {self.last.count});"
            case "bool":
                told = f'printf({end} ? "true" : "false");'
            case "double":
                told = f'printf("%.17g", {end});'
            case _ if self.last.ctype in ("unsigned long", "unsigned long long"):
                told = f'printf("%llu", (unsigned long long){end});'
            case _:
                told = f'printf("%lld", (long long){end});'
        return f'\tprintf("[{number}, "); if ({guard}) {{ {told} }} else printf("null"); printf("]\\n");\n'


def alike(a: str, b: str) -> bool:
    return SCALARS[a] == SCALARS[b] and a.startswith("unsigned") == b.startswith("unsigned")


class Nest:
    def __init__(self, rng: random.Random, records: int, *, packed: bool = True) -> None:
        self.rng = rng
        self.number = 0
        self.records: list[list[Member]] = []
        self.packed: list[bool] = []
        for index in range(records):
            self.records.append(self._members(index, records, rng.randint(4, 9), 0))
            self.packed.append(packed and rng.random() < 0.15)

    def _members(self, index: int, records: int, count: int, depth: int) -> list[Member]:
        return [self._member(index, records, depth) for _ in range(count)]

    def _member(self, index: int, records: int, depth: int) -> Member:
        rng = self.rng
        self.number += 1
        name = f"m{self.number}"
        kinds = (
            ["scalar"] * 4
            + ["bits"] * 5
            + ["pointer"] * 4
            + ["bool", "enum", "double", "text", "string", "number", "array", "table"]
        )
        kinds += ["record", "records"] * 2 if index and depth == 0 else []
        kinds += ["inside"] * 2 if depth < 2 else []
        kind = rng.choice(kinds)
        match kind:
            case "bits":
                ctype = rng.choice(
                    ["int", "unsigned int", "unsigned char", "short", "unsigned long", "long", "unsigned short"]
                )
                bits = 8 * SCALARS[ctype]
                return Member(
                    name, kind, "signed " + ctype if ctype in ("int", "short", "long") else ctype, rng.randint(1, bits)
                )
            case "pointer" | "table":
                return Member(name, kind, record=rng.randrange(records))
            case "record":
                return Member(name, kind, record=rng.randrange(index))
            case "records":
                return Member(name, kind, count=rng.randint(1, 3), record=rng.randrange(index))
            case "text":
                return Member(name, kind, count=rng.randint(1, 15))
            case "array":
                return Member(name, kind, rng.choice(list(SCALARS)), rng.randint(1, 5))
            case "number":
                return Member(name, kind, rng.choice(["int", "short", "long", "signed char"]))
            case "bool":
                return Member(name, kind, "_Bool")
            case "enum":
                return Member(name, kind, rng.choice(["enum small", "enum negative"]))
            case "double":
                return Member(name, kind, "double")
            case "inside":
                return Member(
                    "",
                    kind,
                    union=rng.random() < 0.5,
                    members=self._members(index, records, rng.randint(2, 4), depth + 1),
                )
            case _:
                return Member(name, kind, rng.choice(list(SCALARS)))

    def declarations(self, shuffled: random.Random | None = None, changed: Mapping[str, str] | None = None) -> str:
        """All records; with `shuffled`, their members in another order, some inside of one more anonymous struct, and with
        others between them. `changed` has other types for members."""
        made = ["enum small { SMALL, SMALLER = 5 }; enum negative { NEGATIVE = -3, POSITIVE = 4 };\n"]
        made += [f"struct s{i};\n" for i in range(len(self.records))]
        for index, members in enumerate(self.records):
            texts = [m.text(changed or {}) for m in members]
            if shuffled is not None:
                shuffled.shuffle(texts)
                at = shuffled.randrange(len(texts))
                texts[at : at + 2] = [f"struct {{ {' '.join(texts[at : at + 2])} }};"]
                texts.insert(shuffled.randrange(len(texts)), f"long added{index}[{shuffled.randint(1, 5)}];")
            tail = " __attribute__((packed))" if self.packed[index] else ""
            made.append(f"struct s{index} {{ {' '.join(texts)} }}{tail};\n")
        return "".join(made)

    def changed(self, rng: random.Random) -> dict[str, str]:
        """Other types for some scalars: of another size or sign, of which two bytes or more tell."""
        types = [t for t, size in SCALARS.items() if size > 1]

        def others(members: list[Member]) -> Iterator[tuple[str, str]]:
            for m in members:
                yield from others(m.members)
                if m.kind == "scalar" and SCALARS[m.ctype] > 1 and rng.random() < 0.3:
                    yield m.name, rng.choice([t for t in types if not alike(t, m.ctype)])

        return dict(pair for members in self.records for pair in others(members))

    def paths(self, count: int) -> list[Path]:
        return [self._path() for _ in range(count)]

    def _path(self) -> Path:
        rng = self.rng
        root = rng.randrange(len(self.records))
        text, tests, end, options = "", [], "o", rng.randint(0, 5)
        arrow, record = True, self.records[root]

        def element(most: int) -> None:
            """Of what a pointer leads to, as if that were an array."""
            nonlocal text, end
            number = rng.randint(0, most)
            text, end = f"{text}[{number}]", f"{end}[{number}]"

        if rng.random() < 0.3:
            element(MORE)
            arrow = False
        while True:
            named = list(_named(record))
            onward = [m for m in named if m.kind in ("pointer", "table", "record", "records")]
            last = rng.choice(onward if onward and options > 0 else named)
            options -= 1
            end += f"{'->' if arrow else '.'}{last.name}"
            text += f"{rng.choice(['->', '.']) if text else ''}{last.name}"
            if last.kind == "table" and (options > 0 or rng.random() < 0.5):
                tests.append(end)
                element(MORE)
                last = Member(last.name, "pointer", record=last.record)
            if last.kind == "pointer" and options > 0:
                tests.append(end)
                arrow, record = True, self.records[last.record]
                if rng.random() < 0.3:
                    element(MORE)
                    arrow = False
            elif last.kind == "number" and rng.random() < 0.5:
                tests.append(end)
                element(MORE)
                return Path(root, text, tests, end, Member("", "element", last.ctype), "")
            elif last.kind in ("record", "records"):
                if last.kind == "records":
                    number = rng.randrange(last.count)
                    end += f"[{number}]"
                    text += f"[{number}]"
                arrow, record = False, self.records[last.record]
            elif last.kind == "array" and rng.random() < 0.5:
                number = rng.randrange(last.count)
                return Path(root, f"{text}[{number}]", tests, f"{end}[{number}]", Member("", "element", last.ctype), "")
            else:
                break
        option = {"string": ", string: 16", "number": rng.choice(["", ", deref: true"])}.get(last.kind, "")
        if last.kind == "text" and rng.random() < 0.3:
            option = f", bytes: {{size: {last.count}}}"
        return Path(root, text, tests, end, last, option)

    def fill(self) -> str:
        """C: objects of each record, `o0[4]` and so on, filled at random; a pointer leads to one of the first two, or, one in
        four, nowhere."""
        count = 2 + MORE
        arena = " ".join(
            f"struct s{i} o{i}[{count}] __attribute__((aligned(8))), *t{i}[{count}];" for i in range(len(self.records))
        )
        made = [f"static struct {{ {arena} char strings[4][16]; long numbers[{4 + MORE}]; }} arena;\n"]
        made += [
            f"#define {name} arena.{name}\n"
            for name in ("strings", "numbers", *(f"{word}{i}" for word in "ot" for i in range(len(self.records))))
        ]
        for index, members in enumerate(self.records):
            lines = "".join(f"\t{line}\n" for line in self._filled(members, "o->"))
            made.append(f"static void fill{index}(struct s{index} *o)\n{{\n{lines}}}\n")
        calls = "\tmemcpy(strings, own_strings, sizeof(strings)); memcpy(numbers, own_numbers, sizeof(numbers));\n"
        calls += "".join(f"\tfill_bytes(o{i}, sizeof(o{i}));\n" for i in range(len(self.records)))
        for i in range(len(self.records)):
            filled = f"fill{i}(&o{i}[i]); t{i}[i] = rnd() % 4 ? AT(&o{i}[rnd() % 2]) : 0;"
            calls += f"\tfor (int i = 0; i < {count}; i++) {{ {filled} }}\n"
        return f"{''.join(made)}static void fill_all(void)\n{{\n{calls}}}\n"

    def _filled(self, members: list[Member], at: str) -> list[str]:
        lines: list[str] = []
        for m in members:
            place = f"{at}{m.name}"
            match m.kind:
                case "pointer":
                    lines.append(f"{place} = rnd() % 4 ? AT(&o{m.record}[rnd() % 2]) : 0;")
                case "table":
                    lines.append(f"{place} = rnd() % 4 ? AT(&t{m.record}[rnd() % 2]) : 0;")
                case "string":
                    lines.append(f"{place} = rnd() % 4 ? AT(strings[rnd() % 4]) : 0;")
                case "number":
                    lines.append(f"{place} = rnd() % 4 ? AT(&numbers[rnd() % 4]) : 0;")
                case "bool":
                    lines.append(f"{place} = rnd() % 2;")
                case "double":
                    lines.append(f"{place} = (double)(long)rnd();")
                case "text":
                    lines.append(f"fill_text({place}, {m.count});")
                case "record":
                    lines.append(f"fill{m.record}(&{place});")
                case "records":
                    lines += [f"fill{m.record}(&{place}[{i}]);" for i in range(m.count)]
                case "inside" if m.union:
                    lines += self._filled([self.union_member(m)], at)
                case "inside":
                    lines += self._filled(m.members, at)
        return lines

    @staticmethod
    def union_member(m: Member) -> Member:
        return next((one for one in m.members if not plain(one)), m.members[0])


def plain(member: Member) -> bool:
    """Whether any bits make a value of it that C and a probe tell alike."""
    if member.kind == "inside":
        return all(plain(m) for m in member.members)
    return member.kind in ("scalar", "bits", "enum", "array")


def _named(members: list[Member]) -> list[Member]:
    """Members that have a value: of a union with one that not any bits make a value of, only this one."""
    found: list[Member] = []
    for m in members:
        if m.kind != "inside":
            found.append(m)
        elif m.union:
            found += _named([Nest.union_member(m)])
        else:
            found += _named(m.members)
    return found


RUNTIME = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static uint64_t state;
static uint64_t rnd(void) { /* splitmix64 */
	uint64_t z = (state += 0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}
#ifndef AT /* an object as the probe sees it */
#define AT(x) ((void *)(x))
#define SHOWN(x) ((unsigned long)(x))
#endif
static const char own_strings[4][16] = {"", "one", "a longer string", "two"};
static const long own_numbers[] = {-1, 0x1122334455667788, 0, -0x7766554433221100, 0x123456789abcdef0, -7};
static void fill_bytes(void *p, unsigned long n) { unsigned char *c = p; while (n--) *c++ = rnd(); }
static void fill_text(char *p, int n) { int length = rnd() % (n + 1), i; for (i = 0; i < n; i++) p[i] = i < length ? 'a' + rnd() % 26 : 0; }
static void text(const char *p, int n) { printf("\"%.*s\"", n, p); }
static void hex(const void *p, int n) { const unsigned char *c = p; printf("\""); while (n--) printf("%02x", *c++); printf("\""); }
#define list(x, n) do { int i; printf("["); for (i = 0; i < n; i++) printf((__typeof__(x))-1 < 0 ? "%s%lld" : "%s%llu", i ? ", " : "", (long long)(x)); printf("]"); } while (0)
"""
