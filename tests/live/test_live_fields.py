"""Fields behind pointers in processes: random paths through random structs, and what C says is there."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command import specc

from .build import compile_c, live
from .nests import RUNTIME, Nest
from .nests import Path as FieldPath
from .test_live_run import events, finish, started

SEED = int(os.environ["SPECC_SEED"])
PATHS = 300
AT_ONCE = 12  # of one probe
CONDITIONS = 100

pytestmark = live


def program(nest: Nest, paths: list[FieldPath]) -> tuple[str, str]:
    """The functions and the program that calls them, each with an object, and tells what is at the end of each path."""
    groups = group(paths)
    callees = '#include "nest.h"\n' + "".join(
        f'void f{n}(struct s{root} *o, struct s{root} *other) {{ asm volatile("" : : "r"(o), "r"(other) : "memory"); }}\n'
        for n, (root, _) in enumerate(groups)
    )
    tells = "".join(
        f"static void tell{n}(struct s{root} *o)\n{{\n{''.join(p.tells(number) for number, p in members)}}}\n"
        for n, (root, members) in enumerate(groups)
    )
    calls = "".join(
        f"\ttell{n}(&o{root}[{n % 2}]); f{n}(&o{root}[{n % 2}], 0);\n" for n, (root, _) in enumerate(groups)
    )
    declared = "".join(f"void f{n}(struct s{root} *o, struct s{root} *other);\n" for n, (root, _) in enumerate(groups))
    main = (
        f'{RUNTIME}#include "nest.h"\n{declared}{nest.fill()}{tells}'
        f"int main(int n, char **v)\n{{\n\tstate = atoll(v[1]);\n\tfill_all();\n{calls}\treturn 0;\n}}\n"
    )
    return callees, main


def group(paths: list[FieldPath]) -> list[tuple[int, list[tuple[int, FieldPath]]]]:
    """Paths with their numbers, those from one record together, so many at once."""
    made: list[tuple[int, list[tuple[int, FieldPath]]]] = []
    for root in sorted({p.root for p in paths}):
        numbered = [(n, p) for n, p in enumerate(paths) if p.root == root]
        made += [(root, numbered[i : i + AT_ONCE]) for i in range(0, len(numbered), AT_ONCE)]
    return made


def same(got: Any, wanted: Any) -> bool:
    return got == wanted and isinstance(got, bool) == isinstance(wanted, bool)


@pytest.mark.parametrize("source", ["header", "dwarf"])
def test_random_paths(source: str, tmp_path: Path) -> None:
    import specc

    nest = Nest(random.Random(f"{SEED} {source}"), records=14)
    paths = nest.paths(PATHS)
    (tmp_path / "nest.h").write_text(nest.declarations())
    callees, main = program(nest, paths)
    flags = ("-O1", "-g") if source == "dwarf" else ("-O1",)
    path = compile_c(tmp_path / "program", callees, main, flags=(*flags, f"-I{tmp_path}"))
    lines = ["specc: 1", "name: nest", "fields: [tid]", "buffer: {ring: 4MiB}"]
    if source == "header":
        lines.append("headers: [nest.h, calls.h]")
        groups = enumerate(group(paths))
        declared = "".join(f"void f{n}(struct s{r} *o, struct s{r} *other);\n" for n, (r, _) in groups)
        (tmp_path / "calls.h").write_text(declared)
    lines.append("probes:")
    for n, (_, members) in enumerate(group(paths)):
        kind = "uprobe" if n % 2 else "uretprobe"
        lines += [f"  - name: p{n}", f"    {kind}: {{path: {path}, symbol: f{n}}}", "    args:"]
        lines += [f"      - {p.spec(f'v{number}')}" for number, p in members]
    spec = tmp_path / "nest.yaml"
    spec.write_text("\n".join(lines) + "\n")
    with specc.open(spec) as probe:
        told = subprocess.run([path, str(SEED)], check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout
        probe._session.detach()
        events = [probe._decoder.decode(r) for batch in probe._session.poll(0) for r in batch]
        assert (probe.lost, probe.missed) == (0, 0)
    wanted = dict(json.loads(line) for line in told.splitlines())
    got = {int(k[1:]): v for e in events for k, v in e.items() if k[0] == "v" and k[1:].isdigit()}
    assert len(wanted) == PATHS and sorted(got) == sorted(wanted)
    wrong = [
        f"{paths[n].text} of {paths[n].last}: {got[n]!r}, not {wanted[n]!r}"
        for n in wanted
        if not same(got[n], wanted[n])
    ]
    assert wrong == [], f"seed {SEED}"
    assert sum(v is not None for v in wanted.values()) > PATHS // 3, "most paths lead to something"
    assert any(v is None for v in wanted.values())
    for event in events:
        for key, value in event.items():
            assert (value is None) == (f"{key}_error" in event), (key, event)


def condition(rng: random.Random, path: FieldPath) -> tuple[str, str] | None:
    """What a spec says of the end of a path, and what C says."""
    name = f"o{'' if path.text[0] == '[' else rng.choice(['->', '.'])}{path.text}"
    end, last = path.end, path.last
    negated = rng.choice(["", "!"])
    match last.kind:
        case "string" | "text":
            text = rng.choice(["one", "tw", "a longer string", "a", "ab", "o"])
            if last.kind == "text" and len(text) >= last.count:
                return None
            size = "15" if last.kind == "string" else f"sizeof({end})"
            if rng.random() < 0.5:
                return f'{negated}startswith({name}, "{text}")', f'{negated}!strncmp({end}, "{text}", {len(text)})'
            return (
                f'{negated}({name} == "{text}")',
                f'{negated}(strnlen({end}, {size}) == {len(text)} && !memcmp({end}, "{text}", {len(text)}))',
            )
        case "pointer" | "table" | "number":
            return f"{negated}({name} == NULL)", f"{negated}({end} == 0)"
        case "double" | "array":
            return None
        case "bits" if last.count > 31:  # gcc and clang do not promote these alike
            return f"{negated}({name} != 0)", f"{negated}({end} != 0)"
        case _:
            number = rng.choice([0, 1, 5, 20, 100, 1000, -1, -3, -100])
            test = f" {rng.choice(['>', '<', '==', '>=', '&', '+ 7 >'])} {number}"
            return f"{negated}({name}{test})", f"{negated}({end}{test})"


def test_random_conditions(tmp_path: Path) -> None:
    """Of two paths each; true only when all pointers on both ways lead somewhere, and C says so."""
    import specc

    rng = random.Random(f"{SEED} where")
    nest = Nest(rng, records=14)
    made: list[tuple[int, str, str]] = []
    while len(made) < CONDITIONS:
        first, second = nest.paths(2)
        if first.root != second.root or first.last.kind == "bytes":
            continue
        a, b = condition(rng, first), condition(rng, second)
        if a is None or b is None:
            continue
        strings = [p.end for p in (first, second) if p.last.kind == "string"]
        guard = " && ".join([*first.tests, *second.tests, *strings]) or "1"
        joined = rng.choice(["&&", "||"])
        whole = f"{guard} && ({a[1]} {joined} {b[1]})"
        if joined == "||":  # the second side is not looked at where the first one is true
            guards = [
                " && ".join([*p.tests, *([p.end] if p.last.kind == "string" else [])]) or "1" for p in (first, second)
            ]
            whole = f"({guards[0]}) && ({a[1]} || (({guards[1]}) && {b[1]}))"
        made.append((first.root, f"{a[0]} {joined} {b[0]}", whole))
    (tmp_path / "nest.h").write_text(nest.declarations())
    declared = "".join(f"void f{i}(struct s{i} *o);\n" for i in range(len(nest.records)))
    callees = '#include "nest.h"\n' + "".join(
        f'void f{i}(struct s{i} *o) {{ asm volatile("" : : "r"(o) : "memory"); }}\n' for i in range(len(nest.records))
    )
    tells = "".join(f"static int tell{n}(struct s{root} *o) {{ return {c}; }}\n" for n, (root, _, c) in enumerate(made))
    calls = "".join(f"\tf{i}(&o{i}[0]);\n" for i in range(len(nest.records)))
    calls += "".join(f'\tprintf("%d ", tell{n}(&o{root}[0]));\n' for n, (root, _, _) in enumerate(made))
    main = (
        f'{RUNTIME}#include "nest.h"\n{declared}{nest.fill()}{tells}'
        f"int main(int n, char **v)\n{{\n\tstate = atoll(v[1]);\n\tfill_all();\n{calls}\treturn 0;\n}}\n"
    )
    path = compile_c(tmp_path / "program", callees, main, flags=("-O1", f"-I{tmp_path}"))
    (tmp_path / "calls.h").write_text(declared)
    lines = ["specc: 1", "name: nest", "fields: [tid]", "headers: [nest.h, calls.h]", "probes:"]
    for n, (root, text, _) in enumerate(made):
        lines += [
            f"  - name: p{n}",
            f"    uprobe: {{path: {path}, symbol: f{root}}}",
            "    args: []",
            f"    where: '{text}'",
        ]
    spec = tmp_path / "nest.yaml"
    spec.write_text("\n".join(lines) + "\n")
    with specc.open(spec) as probe:
        told = subprocess.run([path, str(SEED)], check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout
        probe._session.detach()
        seen = {probe._decoder.decode(r)["probe"] for batch in probe._session.poll(0) for r in batch}
    wanted = {f"p{n}" for n, word in enumerate(told.split()) if word == "1"}
    wrong = {made[int(name[1:])][1:] for name in wanted ^ seen}
    assert wrong == set(), f"seed {SEED}"
    assert CONDITIONS // 10 < len(wanted) < CONDITIONS


ALIKE = """
struct s { int a, b, c; };
__attribute__((noinline, noipa)) int take(struct s *s, int v) { __asm__ volatile("" ::: "memory"); return v; }
int main(void) { static struct s s; s.a = 11; s.b = 22; s.c = 33; return take(&s, 5) != 5; }
"""


@pytest.mark.parametrize("kind", ["uprobe", "uretprobe"])
def test_names_that_are_alike(kind: str, tmp_path: Path) -> None:
    """What is only tested has names of its own, which no field can have."""
    target = compile_c(tmp_path / "target", ALIKE)
    (tmp_path / "s.h").write_text("struct s { int a, b, c; };\nint take(struct s *s, int v);\n")
    spec = tmp_path / "alike.yaml"
    fields = {"v": "a", "__v": "b", "path_0": "c", "path_1": "a", "tested": "b", "s_path_0": "c"}
    args = ", ".join(f"{{s: {{field: {member}, as: {name}}}}}" for name, member in fields.items())
    spec.write_text(
        f"specc: 1\nname: alike\nfields: []\nheaders: [s.h]\nprobes:\n  - name: take\n    {kind}: {{path: {target}, "
        f"symbol: take}}\n    args: [{args}]\n    where: s->a == 11 && s->b != 21 && v == 5\n"
    )
    with started(spec, "--format", "jsonl", cwd=tmp_path) as run:
        subprocess.run([target], check=True)
        run.send_signal(2)
        done = finish(run)
    values = {"a": 11, "b": 22, "c": 33}
    assert list(events(done)) == [{"probe": "take", **{name: values[member] for name, member in fields.items()}}]
    spec.write_text(spec.read_text().replace("as: tested", "as: __path_0").replace("as: s_path_0", "as: __arg_v"))
    refused = specc("check", spec, "--output-format", "concise", cwd=tmp_path)
    assert [line.split(" ", 2)[1:] for line in refused.err.splitlines()[:2]] == [
        ["SP241", f"`{name}` is what specc calls values of its own (give it another name: {{{name}: {{as: {name}_}}}})"]
        for name in ("__path_0", "__arg_v")
    ]
