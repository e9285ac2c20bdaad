"""Which kernels a spec is compiled for: the command line, the environment, the spec, the nearest config file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command import Done, environment, specc
from small_kernels import kernel

from specc.config import Configs, TargetFile, expand
from specc.diagnostics import Location, Report, Sources, Stop, render
from specc.pipeline import Session
from specc.source import load
from specc.sources import target_names
from specc.spec import Spec, Word, read_spec

SPEC = "specc: 1\nname: t\nfields: []\n{}probes:\n  - {{kprobe: f, args: [a]}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with BTF of some kernels and one spec without targets, in `a/specs`."""
    for name in ("5.4", "5.10", "6.1", "6.12"):
        kernel(tmp_path / "btf" / f"{name}.btf", {"f": "int a"})
    (tmp_path / ".git").mkdir()
    (tmp_path / "a" / "specs").mkdir(parents=True)
    (tmp_path / "a" / "specs" / "t.yaml").write_text(SPEC.format(""))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPECC_TARGETS", raising=False)
    return tmp_path


def read(path: str = "a/specs/t.yaml") -> Spec:
    report = Report()
    spec = read_spec(load(Path(path)), report)
    assert spec is not None, report.diagnostics
    return spec


def names(*btf: str, spec: Spec | None = None) -> list[str]:
    session = Session(_no_compiler, [Path(b) for b in btf])
    return [target.name for target in session.sources.targets(spec or read())]


def refusal(*btf: str) -> str:
    with pytest.raises(Stop) as caught:
        names(*btf)
    return render([caught.value.diagnostic], "concise", Sources()).strip()


def _no_compiler() -> object:  # type: ignore[misc]
    raise AssertionError("no compiler is needed")


def test_none(project: Path) -> None:
    assert names() == []


def test_precedence(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "specc.toml").write_text('targets = ["btf/5.4.btf"]\n')
    assert names() == ["5.4"]
    (project / "a/specs/t.yaml").write_text(SPEC.format("targets: [../../btf/5.10.btf]\n"))
    assert names() == ["5.10"]
    monkeypatch.setenv("SPECC_TARGETS", "btf/6.1.btf")
    assert names() == ["6.1"]
    assert names("btf/6.12.btf") == ["6.12"]


# files of the project, and what the nearest of them says
NEAREST = [
    ({"specc.toml": 'targets = ["btf/5.4.btf"]'}, ["5.4"]),
    ({"pyproject.toml": '[tool.specc]\ntargets = ["btf/5.4.btf"]'}, ["5.4"]),
    ({"pyproject.toml": '[project]\nname = "specc"\n'}, []),
    ({"pyproject.toml": '[project]\nname = "other'}, []),  # broken, and nothing of ours
    ({"pyproject.toml": '[tool.specc]\ntargets = ["btf/5.4.btf"]\n[tool.x]\nsince = 2024-01-01\n'}, ["5.4"]),
    ({"pyproject.toml": '[tool.x]\nspecc = 2024-01-01\n'}, []),
    ({"specc.toml": ""}, []),
    ({"specc.toml": "", "pyproject.toml": '[tool.specc]\ntargets = ["btf/5.4.btf"]'}, []),
    ({"specc.toml": 'targets = ["btf/5.4.btf"]', "a/specc.toml": 'targets = ["../btf/6.1.btf"]'}, ["6.1"]),
    ({"specc.toml": 'targets = ["btf/5.4.btf"]', "a/pyproject.toml": "[tool.other]"}, ["5.4"]),
    ({"specc.toml": 'targets = ["btf/5.4.btf"]', "a/specc.toml": 'specc = 1\nname = "a spec"'}, ["5.4"]),
    ({"specc.toml": 'targets = ["btf/5.4.btf"]', "a/.git/HEAD": ""}, []),  # the project ends there
    ({"specc.toml": 'targets = ["btf/5.4.btf", {name = "six", btf = ["btf/6.1.btf"]}]'}, ["5.4", "six"]),
]  # fmt: skip


@pytest.mark.parametrize(("made", "expected"), NEAREST)
def test_nearest_config(project: Path, made: dict[str, str], expected: list[str]) -> None:
    for name, text in made.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text)
    assert names() == expected


# a config file, its text, and what is said
WRONG = [
    ("specc.toml", "target = []", "specc.toml:1:1: SP101 `specc.toml` has no key `target` (did you mean `targets`?)"),
    ("pyproject.toml", "[tool.specc]\nwhat = 1",
     "pyproject.toml:2:1: SP101 `[tool.specc]` has no key `what`"),
    ("pyproject.toml", "[tool]\nspecc = 1", "pyproject.toml:2:9: SP103 `[tool.specc]` must be a map, not a number"),
    ("specc.toml", "targets = [", "specc.toml:1:11: SP007 "),
    ("pyproject.toml", "[tool.specc]\ntargets = [", "pyproject.toml:2:11: SP007 "),
    ("pyproject.toml", "[tool.specc]\ntargets = 2024-01-01",
     "pyproject.toml:1:1: SP103 `targets` must be a list, not a string"),
    ("specc.toml", 'targets = ["/boot/x.btf"]',
     "specc.toml:1:12: SP125 `/boot/x.btf` is an absolute path: the target would be there on one machine only"),
    ("specc.toml", 'targets = ["gone.btf"]', "specc.toml:1:12: SP129 the target gone.btf is not there"),
    ("specc.toml", 'targets = ["gone.btf", "btf/5.4.btf", {name = "x", btf = "x.btf"}]',
     "specc.toml:1:12: SP129 the target gone.btf is not there"),
    ("specc.toml", 'targets = ["btf/5.4.btf", "specc.toml"]', "specc.toml:1:27: SP232 `specc.toml` "),
    ("specc.toml", 'targets = ["btf"]', "specc.toml:1:12: SP129 the target btf is not a file"),
    ("specc.toml", 'targets = [{name = "x", btf = ["btf/5.4.btf", "btf/6.1.btf"]}]',
     "specc.toml:1:47: SP131 btf/6.1.btf has the BTF of another kernel, not of a module"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "text", "said"), WRONG)
def test_wrong_config(project: Path, file: str, text: str, said: str) -> None:
    (project / file).write_text(text)
    assert refusal().startswith(said), refusal()


@pytest.mark.parametrize(
    ("file", "text", "said"), [row for row in WRONG if "SP232" not in row[2] and "SP131" not in row[2]]
)
def test_wrong_config_without_a_kernel_probe(project: Path, file: str, text: str, said: str) -> None:
    """Nobody should learn of it only with the first probe that needs targets."""
    (project / file).write_text(text)
    (project / "a/specs/u.yaml").write_text(
        'specc: 1\nname: u\nprobes:\n  - uprobe: /nowhere/x:f\n    prototype: "int f(int a)"\n'
    )
    for command in (["check", "--no-lock"], ["build", "--emit", "c"]):
        done = specc(*command, "a/specs/u.yaml", "--output-format", "concise", cwd=project)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(said), done.err
    (project / file).unlink()
    done = specc("check", "a/specs/u.yaml", "--btf", "nope", "--output-format", "concise", cwd=project)
    assert done == Done(1, "", "SP231 cannot read BTF from `nope`: no such file\n")
    env = environment(SPECC_TARGETS="nope")
    done = specc("check", "a/specs/u.yaml", "--output-format", "concise", cwd=project, env=env)
    assert done == Done(1, "", "SP231 cannot read BTF from `nope`: no such file\n")


# $SPECC_TARGETS, and the files that it means
VARIABLE = [
    ("btf/6.1.btf:btf/5.4.btf", ["btf/6.1.btf", "btf/5.4.btf"]),
    ("btf", ["btf/5.4.btf", "btf/5.10.btf", "btf/6.1.btf", "btf/6.12.btf"]),
    ("btf/6.*", ["btf/6.1.btf", "btf/6.12.btf"]),
    ("btf/6.*::gone.btf:", ["btf/6.1.btf", "btf/6.12.btf", "gone.btf"]),
]


@pytest.mark.parametrize(("variable", "files"), VARIABLE)
def test_variable(project: Path, variable: str, files: list[str]) -> None:
    assert expand(variable) == files


@pytest.mark.parametrize("variable", ["a", "btf/7.*"])
def test_variable_that_means_nothing(project: Path, variable: str) -> None:
    with pytest.raises(Stop) as caught:
        expand(variable)
    assert caught.value.diagnostic.message == f"cannot read BTF from `{variable}`: there is no .btf file"


# kernels as they are named or not, and what they are called
NAMES = [
    (["5.4.btf", "vmlinux"], ["5.4", "vmlinux"]),
    (["a/vmlinux", "b/vmlinux"], ["a/vmlinux", "b/vmlinux"]),
    (["a/x/vmlinux.btf", "b/x/vmlinux.btf", "y"], ["a/x/vmlinux", "b/x/vmlinux", "y"]),
    (["a/x", "=six b/x"], ["x", "six"]),
    (["a/six.btf", "=six b/x"], ["a/six", "six"]),
    ([], []),
]


@pytest.mark.parametrize(("kernels", "expected"), NAMES)
def test_names(kernels: list[str], expected: list[str]) -> None:
    def file(text: str) -> TargetFile:
        name, _, path = text.rpartition(" ")
        return TargetFile(path, Word(name[1:], Location("s")) if name else None)

    assert target_names([file(k) for k in kernels]) == expected


def test_all_missing_targets_are_told(project: Path) -> None:
    (project / "specc.toml").write_text('targets = ["gone.btf", "btf/5.4.btf", {name = "x", btf = "x.btf"}]\n')
    with pytest.raises(Stop) as caught:
        names()
    assert caught.value.diagnostic.notes == ("nor is x.btf, at specc.toml:1:58",)


def test_names_that_cannot_be_told_apart(project: Path) -> None:
    (project / "6.1.btf").write_bytes((project / "btf/6.1.btf").read_bytes())
    (project / "specc.toml").write_text('targets = ["6.1.btf", {name = "6.1", btf = "btf/6.1.btf"}]\n')
    assert refusal().startswith("specc.toml:1:31: SP130 two targets are called `6.1`"), refusal()


def test_a_modules_btf_belongs_to_its_kernel(project: Path) -> None:
    base = kernel(project / "btf" / "6.1.btf", {"f": "int a"})
    kernel(project / "nf.btf", {"g": "int b"}, base=base)
    session = Session(_no_compiler, [Path("btf/5.4.btf"), Path("btf/6.1.btf"), Path("nf.btf"), Path("btf/6.12.btf")])
    found = {t.name: [b.name for b in t.btfs] for t in session.sources.targets(read())}
    assert found == {"5.4": ["5.4.btf"], "6.1": ["6.1.btf", "nf.btf"], "6.12": ["6.12.btf"]}
    assert [bool(t.find("g")) for t in session.sources.targets(read())] == [False, True, False]
    (project / "specc.toml").write_text('targets = ["btf/5.4.btf", {name = "six", btf = ["btf/6.1.btf", "nf.btf"]}]\n')
    found = {t.name: [b.name for b in t.btfs] for t in Session(_no_compiler).sources.targets(read())}
    assert found == {"5.4": ["5.4.btf"], "six": ["6.1.btf", "nf.btf"]}


def test_a_file_is_opened_once_for_all_specs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import specc.btf

    opened: list[str] = []
    really = specc.btf.open_btf
    monkeypatch.setattr(specc.btf, "open_btf", lambda path, *base: opened.append(str(path)) or really(path, *base))
    (project / "specc.toml").write_text('targets = ["btf/5.4.btf", "btf/6.1.btf"]\n')
    (project / "a/specs/u.yaml").write_text(SPEC.format("targets: [../../btf/6.1.btf, ../../btf/5.4.btf]\n"))
    session = Session(_no_compiler)
    for spec in (read(), read("a/specs/u.yaml"), read()):
        session.sources.targets(spec)
    assert opened == ["btf/5.4.btf", "btf/6.1.btf"]


def test_what_a_search_depended_on(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.specc]\ntargets = ["btf/5.4.btf"]\n')
    dependencies: dict[str, None] = {}
    absent: dict[str, None] = {}
    found = Configs().near("a/specs", dependencies, absent)
    assert found is not None and found.file == "pyproject.toml"
    assert [*dependencies] == ["pyproject.toml"]
    assert [*absent] == [
        "a/specs/specc.toml",
        "a/specs/pyproject.toml",
        "a/specc.toml",
        "a/pyproject.toml",
        "specc.toml",
    ]


# --- the build cache --------------------------------------------------------------------------------------------------


def _kernel_of_old(path: Path, functions: dict[str, str]) -> None:
    """A file that was there before the build begins: what changes while it is being read is not remembered."""
    kernel(path, functions)
    os.utime(path, (1_600_000_000, 1_600_000_000))


CHANGES = {
    "a kernel": lambda p: kernel(p / "btf/5.4.btf", {"f": "int z, int a"}),
    "a nearer config": lambda p: (p / "a/specc.toml").write_text('targets = ["../btf/6.1.btf"]\n'),
    "the config": lambda p: (p / "specc.toml").write_text('targets = ["btf/5.10.btf"]\n'),
    "nothing": lambda p: None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_build_cache_notices(project: Path, change: str) -> None:
    (project / "specc.toml").write_text('targets = ["btf/5.4.btf"]\n')
    env = environment(SPECC_TARGETS=None, SPECC_CACHE_DIR=str(project / "cache"))
    build = ("build", "--emit", "c", "a/specs")
    first = specc(*build, cwd=project, env=env)
    assert first.code == 0, first.err
    before = _c(project)
    CHANGES[change](project)
    assert specc(*build, cwd=project, env=env).code == 0
    source = {"a nearer config": "6.1.btf", "the config": "5.10.btf"}.get(change, "5.4.btf")
    assert f"BTF of {source}" in _c(project)
    assert (_c(project) == before) == (change == "nothing")


def _c(project: Path) -> str:
    return (project / "generated" / "t.bpf.c").read_text()


def test_the_variable_is_part_of_what_a_build_is_remembered_by(project: Path) -> None:
    for targets, source in (("btf/5.4.btf", "5.4"), ("btf/6.1.btf", "6.1"), ("btf", "5.4")):
        env = environment(SPECC_TARGETS=targets, SPECC_CACHE_DIR=str(project / "cache"))
        done: Done = specc("build", "--emit", "c", "a/specs", cwd=project, env=env)
        assert done.code == 0, done.err
        assert f"BTF of {source}.btf" in _c(project)
    (project / "btf" / "5.4.btf").unlink()
    env = environment(SPECC_TARGETS="btf", SPECC_CACHE_DIR=str(project / "cache"))
    assert specc("build", "--emit", "c", "a/specs", cwd=project, env=env).code == 0
    assert "BTF of 5.10.btf" in _c(project)


def test_no_config_no_parser(project: Path) -> None:
    """A search that finds nothing loads nothing."""
    import subprocess
    import sys

    code = (
        "import sys; from specc.config import Configs\n"
        "assert Configs().near('a/specs', {}, {}) is None\n"
        "print(sorted(set(sys.modules) & {'tomllib', 'specc.source', 'specc.schema', 'specc.spec', 'glob', 'pathlib'}))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=project, capture_output=True, text=True, check=False,
                          env=environment(PYTHONPATH=str(Path(__file__).parent.parent)))  # fmt: skip
    assert done.stderr == ""
    assert "specc.source" not in done.stdout and "tomllib" not in done.stdout


def test_what_follows_from_a_target_that_cannot_be_read_is_no_news(project: Path) -> None:
    (project / "specc.toml").write_text('targets = ["bad.btf"]\n')
    (project / "bad.btf").write_bytes(b"no BTF")
    (project / "a/specs/u.yaml").write_text(
        "specc: 1\nname: u\nprobes:\n  - kretprobe: f\n    args: [return, latency]\n    where: latency > 5 && ret > 1\n"
        "  - uprobe: /nowhere/x:g\n    prototype: int g(int a)\n    where: b > 1\n"
    )
    done = specc("check", "a/specs/u.yaml", "--output-format", "concise", cwd=project)
    assert (done.code, done.out) == (1, "")
    first, second = done.err.splitlines()
    assert first.startswith("a/specs/u.yaml:9:12: SP282 nothing here is called `b`")
    assert second.startswith("specc.toml:1:12: SP23")
