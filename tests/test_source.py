"""YAML 1.2 and TOML to one positioned document: values, places, and no bad input that ends in anything but a finding."""

from __future__ import annotations

import datetime
import errno
import math
import os
import random
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specc.diagnostics import Location, Stop
from specc.source import MAX_BYTES, MAX_DEPTH, MAX_VALUES, Node, load, parse, plain

SEED = int(os.environ["SPECC_SEED"])
CORPUS = sorted((Path(__file__).parent / "golden" / "spec_errors").glob("*/spec.*"))


def read(text: str, syntax: Literal["yaml", "toml"] = "yaml") -> Any:
    return plain(parse(text.encode(), "f", syntax).root)


def problem(text: str | bytes, syntax: Literal["yaml", "toml"] = "yaml") -> tuple[str, str]:
    with pytest.raises(Stop) as caught:
        parse(text.encode() if isinstance(text, str) else text, "f", syntax)
    return caught.value.diagnostic.code, str(caught.value.diagnostic.where)


SCALARS: list[tuple[str, object]] = [
    # what YAML 1.1 reads as something else
    *((word, word) for word in ("on", "off", "yes", "no", "On", "OFF", "y", "n", "Yes", "NO")),
    ("010", 10),
    ("0010", 10),
    ("-010", -10),
    ("0o17", 15),
    ("0o18", "0o18"),
    ("0x1f", 31),
    ("0xFF", 255),
    ("-0x1f", "-0x1f"),
    ("0b11", "0b11"),
    ("12:30", "12:30"),
    ("190:20:30", "190:20:30"),
    ("1_000", "1_000"),
    ("2001-12-14", "2001-12-14"),
    ("=", "="),
    # what YAML 1.2 has
    ("0", 0),
    ("+12", 12),
    ("-0", 0),
    ("18446744073709551615", 2**64 - 1),
    ("-9223372036854775808", -(2**63)),
    ("0xffffffffffffffff", 2**64 - 1),
    ("1.5", 1.5),
    ("1.", 1.0),
    (".5", 0.5),
    ("-.5e-3", -0.0005),
    ("1e3", 1000.0),
    ("1E+3", 1000.0),
    (".", "."),
    ("e3", "e3"),
    ("+", "+"),
    (".inf", math.inf),
    ("-.INF", -math.inf),
    ("+.Inf", math.inf),
    ("inf", "inf"),
    ("nan", "nan"),
    ("true", True),
    ("True", True),
    ("TRUE", True),
    ("tRUE", "tRUE"),
    ("false", False),
    ("null", None),
    ("Null", None),
    ("NULL", None),
    ("nULL", "nULL"),
    ("~", None),
    ("", None),
    ("'010'", "010"),
    ('"true"', "true"),
    ("'~'", "~"),
    ("|\n  010\n", "010\n"),
    (">-\n  true\n", "true"),
    ("１２", "１２"),  # fullwidth digits are no digits
]


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=[repr(text) for text, _ in SCALARS])
def test_yaml_scalar(text: str, value: object) -> None:
    got = read(f"k: {text}\n")["k"]
    assert (type(got), got) == (type(value), value)


def test_yaml_nan() -> None:
    assert all(math.isnan(x) for x in read("[.nan, .NaN, .NAN]"))


def places(node: Node, path: str = "") -> dict[str, str]:
    """Every key (`path@`) and value, by path, as line:column-line:column."""

    def span(n: Node) -> str:
        return f"{n.line}:{n.column}-{n.end_line}:{n.end_column}"

    found = {path: span(node)}
    if isinstance(node.value, tuple):
        for number, item in enumerate(node.value):
            found |= places(item, f"{path}/{number}")
    elif isinstance(node.value, dict):
        for name, (key, value) in node.value.items():
            found[f"{path}/{name}@"] = span(key)
            found |= places(value, f"{path}/{name}")
    return found


PLACES: list[tuple[Literal["yaml", "toml"], str, dict[str, str]]] = [
    (
        "yaml",
        "# über\nname: gup\nприв: {日本: 'ö', b: \"x\\ty\"} # c\nlist:\n  - one two\n  - k: 1\n    l:\n\ntext: |\n  a\n  b\nlast: x",
        {
            "": "2:1-12:8",
            "/name@": "2:1-2:5",
            "/name": "2:7-2:10",
            "/прив@": "3:1-3:5",
            "/прив": "3:7-3:27",
            "/прив/日本@": "3:8-3:10",
            "/прив/日本": "3:12-3:15",
            "/прив/b@": "3:17-3:18",
            "/прив/b": "3:20-3:26",
            "/list@": "4:1-4:5",
            "/list": "5:3-7:6",
            "/list/0": "5:5-5:12",
            "/list/1": "6:5-7:6",
            "/list/1/k@": "6:5-6:6",
            "/list/1/k": "6:8-6:9",
            "/list/1/l@": "7:5-7:6",
            "/list/1/l": "7:7-7:7",
            "/text@": "9:1-9:5",
            "/text": "9:7-12:1",
            "/last@": "12:1-12:5",
            "/last": "12:7-12:8",
        },
    ),
    (
        "yaml",
        "\ufeffa: b\r\nc: [d,\r\n e]\r\n",
        {
            "": "1:1-3:4",
            "/a@": "1:1-1:2",
            "/a": "1:4-1:5",
            "/c@": "2:1-2:2",
            "/c": "2:4-3:4",
            "/c/0": "2:5-2:6",
            "/c/1": "3:2-3:3",
        },
    ),
    ("yaml", "𝒳: 𝒴𝒵\n", {"": "1:1-1:6", "/𝒳@": "1:1-1:2", "/𝒳": "1:4-1:6"}),
    (
        "toml",
        '# über\r\nname = "gup"\r\n"при" = {日 = 1}\r\n'.replace("日", '"日"')
        + 'a.b = [1,\n  true]\n\n[[p]] # c\nk = """x\ny"""\n[[p]]\n[t.u]\nv = 0x1f\n',
        {
            "": "2:1-2:14",
            "/name@": "2:1-2:5",
            "/name": "2:8-2:13",
            "/при@": "3:1-3:6",
            "/при": "3:9-3:18",
            "/при/日@": "3:10-3:13",
            "/при/日": "3:16-3:17",
            "/a@": "4:1-4:2",
            "/a": "4:1-4:2",
            "/a/b@": "4:3-4:4",
            "/a/b": "4:7-5:8",
            "/a/b/0": "4:8-4:9",
            "/a/b/1": "5:3-5:7",
            "/p@": "7:3-7:4",
            "/p": "7:1-7:6",
            "/p/0": "7:1-7:6",
            "/p/0/k@": "8:1-8:2",
            "/p/0/k": "8:5-9:5",
            "/p/1": "10:1-10:6",
            "/t@": "11:2-11:3",
            "/t": "11:1-11:6",
            "/t/u@": "11:4-11:5",
            "/t/u": "11:1-11:6",
            "/t/u/v@": "12:1-12:2",
            "/t/u/v": "12:5-12:9",
        },
    ),
]


@pytest.mark.parametrize(("syntax", "text", "expected"), PLACES)
def test_places(syntax: Literal["yaml", "toml"], text: str, expected: dict[str, str]) -> None:
    assert places(parse(text.encode(), "f", syntax).root) == expected


@pytest.mark.parametrize(
    ("text", "syntax", "start", "stop", "column", "end"),
    [
        ("k: ab:cd", "yaml", 3, 5, 7, 9),
        ("k: 'ab:cd'", "yaml", 3, 5, 8, 10),
        ('k = "ab:cd"', "toml", 3, 5, 9, 11),
        ('k: "a\\x62:cd"', "yaml", 3, 5, 4, 14),  # an escape: the whole string
    ],
)
def test_part_of_a_string(
    text: str, syntax: Literal["yaml", "toml"], start: int, stop: int, column: int, end: int
) -> None:
    root = parse(text.encode(), "f", syntax).root
    assert isinstance(root.value, dict)
    assert root.value["k"].value.part(start, stop) == Location("f", 1, column, 1, end)


def test_both_syntaxes_read_alike() -> None:
    as_yaml = "specc: 1\nbuffer: {ring: 1MiB}\nprobes:\n- {kprobe: f, args: [a, {b: {as: c}}]}\n- kretprobe: g\n"
    as_toml = 'specc = 1\n[buffer]\nring = "1MiB"\n[[probes]]\nkprobe = "f"\nargs = ["a", {b.as = "c"}]\n[[probes]]\nkretprobe = "g"\n'
    assert read(as_yaml) == read(as_toml, "toml")


def test_alias_is_the_value_it_names() -> None:
    assert read("x-a: &a [p, q]\nb: *a\nc: &a 7\nd: *a\n") == {"x-a": ["p", "q"], "b": ["p", "q"], "c": 7, "d": 7}


PROBLEMS: list[tuple[str, Literal["yaml", "toml"], str, str]] = [
    ("a: 1\nb: {c: 1, c: 2}\n", "yaml", "SP009", "f:2:11"),
    ('a: 1\n"a": 2\n', "yaml", "SP009", "f:2:1"),
    ("a: &x {b: *x}\n", "yaml", "SP011", "f:1:11"),
    ("a: &x [[[*x]]]\n", "yaml", "SP011", "f:1:10"),
    ("a: [\n\tb]\n", "yaml", "SP008", "f:2:1"),
    ("a: [\n  \tb]\n", "yaml", "SP008", "f:2:3"),
    ("- ? {a: b}\n", "yaml", "SP010", "f:1:5"),
    ("null: 1\n", "yaml", "SP010", "f:1:1"),
    ("1.5: 1\n", "yaml", "SP010", "f:1:1"),
    ("? *x\n", "yaml", "SP011", "f:1:3"),
    ("x: &x 1\n*x : 2\n", "yaml", "SP010", "f:1:4"),
    ("a: !x b", "yaml", "SP014", "f:1:4"),
    ("a: !<tag:x,1:y> b", "yaml", "SP014", "f:1:4"),
    ("a: ! b", "yaml", "SP014", "f:1:4"),
    ("- !!map {}", "yaml", "SP014", "f:1:3"),
    ("a: {<<: {b: c}}", "yaml", "SP015", "f:1:5"),
    ("a: 1\n...\nb: 2\n", "yaml", "SP016", "f:3:1"),
    ("'a' b\n", "yaml", "SP006", "f:1:5"),
    ("%YAML 1.1\n---\na: 1", "yaml", "SP017", "f:1:1"),
    ("a: 1e999", "yaml", "SP018", "f:1:4"),
    (f"a: {'9' * 5000}", "yaml", "SP018", "f:1:4"),
    (f"a: -{2**63 + 1}", "yaml", "SP018", "f:1:4"),
    ("a: 0o7777777777777777777777", "yaml", "SP018", "f:1:4"),
    (f"a = {'9' * 5000}", "toml", "SP018", "f:1:5"),
    ("a = 1e999", "toml", "SP018", "f:1:5"),
    ("a = 07:32:00", "toml", "SP019", "f:1:5"),
    ("a = 1\n[b]\nc = 2\nc = 3\n", "toml", "SP009", "f:4:1"),
    ("a.b = 1\n[a]\n", "toml", "SP009", "f:2:2"),
    ("[a.b]\n[a]\nb.c = 1\n", "toml", "SP009", "f:3:1"),
    ("a = {b = 1}\n[a.c]\n", "toml", "SP009", "f:2:2"),
    ("a = [{}]\n[[a]]\n", "toml", "SP009", "f:2:3"),
    ("a = 'x\n", "toml", "SP007", "f:1:5"),
    ('a = "\\ud800"\n', "toml", "SP007", "f:1:6"),
    ("'''a''' = 1\n", "toml", "SP007", "f:1:1"),
    ("a = {b = 1,}\n", "toml", "SP007", "f:1:12"),
    ("a = 01\n", "toml", "SP007", "f:1:5"),
    ("a = 1__0\n", "toml", "SP007", "f:1:5"),
    ("= 1\n", "toml", "SP007", "f:1:1"),
    ("a", "toml", "SP007", "f:1:2"),
]


@pytest.mark.parametrize(("text", "syntax", "code", "where"), PROBLEMS, ids=[repr(p[0][:40]) for p in PROBLEMS])
def test_problem(text: str, syntax: Literal["yaml", "toml"], code: str, where: str) -> None:
    assert problem(text, syntax) == (code, where)


@pytest.mark.parametrize("syntax", ["yaml", "toml"])
@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b"\xff\xfea\x00", "f:1:1"),
        (b"\xfe\xff\x00a", "f:1:1"),
        (b"abc\ndef\x00", "f:2:4"),
        ("ä\nb".encode() + b"\xe9t\xe9", "f:2:2"),
        (b"a\n\xed\xa0\x80", "f:2:1"),  # a surrogate
        (b"a\n  \x1b[31m", "f:2:3"),
        (b"a\x7f", "f:1:2"),
        ("a\u0085b".encode(), "f:1:2"),
        ("a\u2028b".encode(), "f:1:2"),
        ("a\u202eb".encode(), "f:1:2"),
        ("a\u2066b".encode(), "f:1:2"),
        ("\ufeffa\ufeff".encode(), "f:1:2"),
        (b"a\rb", "f:1:2"),
    ],
)
def test_not_text(text: bytes, where: str, syntax: Literal["yaml", "toml"]) -> None:
    assert problem(text, syntax) == ("SP003", where)


# Bounds


def test_depth_bound() -> None:
    most = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert str(read(most)) == most
    assert problem("[" + most + "]")[0] == "SP013"
    for opening in ("[", "{a: ", "- ", "? ", "- - ", "&a [", "{? "):
        code, where = problem(opening * 100_000)
        assert (code, where.split(":")[1]) == ("SP013", "1") or (opening in ("? ", "{? ") and code == "SP010")


def test_depth_through_aliases() -> None:
    chain = ["x-0: &a0 [1]"] + [f"x-{i}: &a{i} [*a{i - 1}]" for i in range(1, 100)]
    assert problem("\n".join(chain))[0] == "SP013"


@pytest.mark.parametrize("opening", ["[", "{a = ", "{a.b = [", "[{a = "])
def test_toml_depth_bound(opening: str) -> None:
    assert problem("a = " + opening * 100_000, "toml")[0] == "SP013"


@pytest.mark.parametrize("text", ["a." * 100_000 + "b = 1", "[" + "a." * 100_000 + "b]"])
def test_toml_key_depth_bound(text: str) -> None:
    assert problem(text, "toml")[0] == "SP013"


def test_value_bound() -> None:
    assert len(read("[" + "1," * (MAX_VALUES - 2) + "1]")) == MAX_VALUES - 1
    assert len(read("".join(f"k{i}: 1\n" for i in range(MAX_VALUES - 1)))) == MAX_VALUES - 1
    assert len(read("".join(f"k{i} = 1\n" for i in range(MAX_VALUES)), "toml")) == MAX_VALUES
    assert problem("[" + "1," * MAX_VALUES + "1]")[0] == "SP012"
    assert problem("a = [" + "1," * MAX_VALUES + "1]", "toml")[0] == "SP012"


@pytest.mark.parametrize("width", [2, 10, 300])
def test_alias_bomb(width: int) -> None:
    lines = ["a0: &a0 lol"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, 60)]
    assert problem("\n".join(lines))[0] == "SP012"


def test_quadratic_alias_bomb() -> None:
    assert problem("a: &a [" + "x," * 1000 + "]\nb: [" + "*a," * 1000 + "]\n")[0] == "SP012"


# Files


def failing_load(path: Path) -> tuple[str, str]:
    with pytest.raises(Stop) as caught:
        load(path, shown="shown.yaml")
    return caught.value.diagnostic.code, caught.value.diagnostic.message


def test_load(tmp_path: Path) -> None:
    for name, text, syntax in [("a.yaml", "k: v", "yaml"), ("a.yml", "k: v", "yaml"), ("a.toml", "k = 'v'", "toml")]:
        (tmp_path / name).write_text(text)
        document = load(tmp_path / name, shown="shown")
        assert (plain(document.root), document.file, document.syntax) == ({"k": "v"}, "shown", syntax)
        assert load(tmp_path / name).file == str(tmp_path / name)


@pytest.mark.parametrize("name", ["a", "a.json", "a.yamll", "a.YAML", ".yaml", "a.c"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("k: v")
    assert failing_load(tmp_path / name)[0] == "SP004"


def test_missing_file(tmp_path: Path) -> None:
    assert failing_load(tmp_path / "a.yaml") == ("SP001", "cannot read `shown.yaml`: No such file or directory")
    assert failing_load(tmp_path / "a.yaml" / "b.yaml")[0] == "SP001"
    assert failing_load(Path("a\0.yaml")) == ("SP001", "cannot read `shown.yaml`: not a file name")
    assert failing_load(tmp_path / ("a" * 300 + ".yaml"))[0] == "SP001"


def test_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").mkdir()
    assert failing_load(tmp_path / "d.yaml") == ("SP001", "`shown.yaml` is a directory, not a file")
    os.mkfifo(tmp_path / "f.yaml")  # opening it would wait for ever
    assert failing_load(tmp_path / "f.yaml") == ("SP001", "`shown.yaml` is a device, pipe or socket, not a file")
    (tmp_path / "z.yaml").symlink_to("/dev/zero")
    assert failing_load(tmp_path / "z.yaml") == ("SP001", "`shown.yaml` is a device, pipe or socket, not a file")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    assert failing_load(tmp_path / "loop.yaml")[0] == "SP001"


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text("k: v")

    def refuse(*_: object, **__: object) -> None:  # root, who runs the tests in a container, reads every file
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)
    assert failing_load(tmp_path / "a.yaml") == ("SP001", "cannot read `shown.yaml`: Permission denied")


def test_large_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"k: v\n#" + b"x" * (MAX_BYTES - 6))
    assert plain(load(path).root) == {"k": "v"}
    path.write_bytes(b"k: v\n#" + b"x" * (MAX_BYTES - 5))
    assert failing_load(path)[0] == "SP002"


# Against other readers


def python_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "CSafeLoader", yaml.SafeLoader)


SOUND_YAML = [
    "k: {a: [1, 'x', \"y\\n\"], b: c}\nl:\n- |\n  a\n  b\n- >-\n  c\n  d\n# e\n- &x {f: g}\n- *x\n",
    "a:\n  b:\n    c: d # e\n  f: [\n    g,\n    h,\n  ]\n",
    "--- # x\na: 'it''s'\nb: \"\\u00e9\\t\"\nü: é\n",
    *(PLACES[i][1] for i in (0, 1, 2)),
]


@pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="PyYAML was built without libyaml")
@pytest.mark.parametrize("text", SOUND_YAML)
def test_libyaml_and_pyyaml_agree(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_c = parse(text.encode(), "f", "yaml")
    python_loader(monkeypatch)
    assert parse(text.encode(), "f", "yaml") == with_c


@pytest.mark.parametrize("path", [p for p in CORPUS if p.suffix == ".yaml"], ids=lambda p: p.parent.name)
def test_pyyaml_finds_the_same_problems(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without libyaml the codes are the same; the place may differ by where each gives up."""
    expected = re.match(r"SP\d+", (path.parent / "expected.txt").read_text())
    assert expected
    python_loader(monkeypatch)
    try:
        parse(path.read_bytes(), "f", "yaml")
        got = ("SP1", "SP263", "SP28")  # the schema's, and those of paths and conditions
    except Stop as found:
        got = (found.diagnostic.code,)
    assert expected.group().startswith(got)


TOML_SEEDS = [
    """
a = 1
b.c = "x\\ty"
[t.u]
d = [1, 2.5, {x = 1, y.z = 'q'}, '''a
 b''', ]
e = true
[[p]]
name = 'k'
[[p]]
args = [
  "x", # hi
  {"ü" = {format = "hex"}},
]
[p.q]
z = inf
[x.y.z.w]
[x]
""",
    '''
[a]
b.c.d = 1
b.e = 0x1f
[a.b2.c]
k = """""x"""""
l = """
a \\
   b"""
[q]
[q.r.s]
"a.b" = -0
'c' = 1_000
[[q.v]]
[[q.v.w]]
[q.v.w.x]
''',
]
TOML_WORDS = """
    [ [[ ] ]] a b a.b . = { } , # \\ 1 _ e 0 + - inf nan true ' " ''' \"\"\" \\u00e9 \\x 0x 0o7 0b1 é 1979-05-27 07:32:00
"""
TOML_BITS = [*TOML_WORDS.split(), " ", "\n", "\r\n", "\t", " = 1", "[a]\n", "[a.b]\n", "[[a]]\n", "[b]\n", "[a.c]\n"]
TOML_BITS += ["[[a.b]]\n", "a = {}\n", "a.b.c = 1\n", "a = {b = 1}\n", "a = [1]\n", "b.a = 1\n", "a = [{}]\n"]


def mutated(rnd: random.Random, seeds: list[str], bits: list[str]) -> str:
    if rnd.random() < 0.4:
        return "".join(rnd.choice(bits) for _ in range(rnd.randint(1, 12)))
    text = rnd.choice(seeds)
    for _ in range(rnd.randint(1, 3)):
        start = rnd.randrange(len(text) + 1)
        end = min(len(text), start + rnd.choice([0, 0, 1, 1, 2, 5]))
        text = text[:start] + rnd.choice([*bits, ""]) + text[end:]
    return text


def has_date(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(has_date, value.values()))
    if isinstance(value, list):
        return any(map(has_date, value))
    return isinstance(value, datetime.date | datetime.time)


def same(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


def test_toml_as_tomllib() -> None:
    """What is TOML, and what it says, is decided by the standard library's reader."""
    rnd = random.Random(SEED)
    accepted = 0
    for _ in range(30_000):
        text = mutated(rnd, TOML_SEEDS, TOML_BITS)
        expected: object
        try:
            expected = tomllib.loads(text)
        except ValueError:
            expected = None
        try:
            got = plain(parse(text.encode(), "f", "toml").root)
        except Stop as found:
            code = found.diagnostic.code
            assert expected is None or (code, expected) == ("SP005", {}) or code == "SP018" or has_date(expected), text
            continue
        assert expected is not None and same(got, expected), text
        accepted += 1
    assert accepted > 1000


YAML_WORDS = (
    "[ ] { } , : - ? | > & * ! % @ ` ' \" # \\ &a *a !!str << ~ 1 a on 010 0x \\x é 𝒳 --- ... %YAML %TAG \ufeff"
)
YAML_BITS = [
    *YAML_WORDS.split(),
    " ",
    "\n",
    "\r\n",
    "\t",
    "  ",
    "\n  ",
    "\n- ",
    "a: ",
    "a:\n",
    "- - ",
    "? a\n: b\n",
    ": ",
    "\\\n",
]


@pytest.mark.parametrize("pure", [False, True], ids=["libyaml", "pyyaml"])
def test_mutated_yaml(pure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finding with a place inside of the text, or a document whose places are in order."""
    if pure:
        python_loader(monkeypatch)
    rnd = random.Random(SEED)
    seeds = [*SOUND_YAML, *(p.read_text("utf-8", "replace") for p in CORPUS if p.suffix == ".yaml")]
    accepted = 0
    for _ in range(2_000 if pure else 20_000):
        text = mutated(rnd, seeds, YAML_BITS)
        try:
            check_places(parse(text.encode(), "f", "yaml").root, text)
            accepted += 1
        except Stop as found:
            where = found.diagnostic.where
            assert where is not None, text
            lines = text.split("\n")
            assert 1 <= where.line <= len(lines) and 1 <= where.column <= len(lines[where.line - 1]) + 2, text
    assert accepted > 100


def check_places(node: Node, text: str) -> None:
    lines = text.removeprefix("\ufeff").split("\n")
    assert (1, 1) <= (node.line, node.column) <= (node.end_line, node.end_column), (text, node)
    assert node.end_line <= len(lines) and node.end_column <= len(lines[node.end_line - 1]) + 1, (text, node)
    if isinstance(node.value, str) and node.line == node.end_line:
        written = lines[node.line - 1][node.column - 1 : node.end_column - 1]
        if written[:1] not in "'\"|>&":
            assert written == node.value, (text, node)
        elif written[:1] == "'":
            assert written[1:-1].replace("''", "'") == node.value, (text, node)
    elif isinstance(node.value, tuple):
        for item in node.value:
            check_places(item, text)
    elif isinstance(node.value, dict):
        for key, value in node.value.values():
            check_places(key, text)
            check_places(value, text)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.sampled_from(["yaml", "toml"]))
def test_random_bytes(text: bytes, syntax: Literal["yaml", "toml"]) -> None:
    try:
        parse(text, "f", syntax)
    except Stop as found:
        assert found.diagnostic.code.startswith("SP0")


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=200), st.sampled_from(["yaml", "toml"]))
def test_random_text(text: str, syntax: Literal["yaml", "toml"]) -> None:
    try:
        parse(text.encode("utf-8", "surrogatepass"), "f", syntax)
    except Stop as found:
        assert found.diagnostic.code.startswith("SP0")
