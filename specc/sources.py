"""What prototypes are read from, for a whole run: headers are preprocessed once for all specs that name them, BTF is opened
once, and every file that was read is known.

    sources = Sources(preprocessor, (Path("6.1.btf"), Path("6.12.btf")))
    sources.headers(spec)       # a HeaderIndex
    sources.targets(spec)       # (Target("6.1", (Btf,)), Target("6.12", (Btf,)))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from specc.config import Configs, TargetFile, expand, target_files
from specc.diagnostics import Location, Stop, stop
from specc.noun import dataclass, field, replace

if TYPE_CHECKING:
    from specc.btf import Btf
    from specc.headers import HeaderIndex, Macros, Preprocessing
    from specc.prototype import Prototype
    from specc.spec import Spec

RUNNING_TARGET = "the kernel it was built on"

_Key = tuple[tuple[Path, ...], tuple[Path, ...], tuple[tuple[str, str], ...]]

RUNNING_KERNEL = Path("/sys/kernel/btf/vmlinux")


@dataclass(frozen=True, slots=True)
class Target:
    """A kernel that specs are compiled for: its name, its BTF, and that of its modules."""

    name: str
    btfs: tuple[Btf, ...]

    def prototype(self, function: str, where: Location) -> tuple[Prototype, Btf]:
        """The function's prototype there. Raises Stop, which says why there is none."""
        btf = next((b for b in self.btfs if b.find(function)), self.btfs[0])
        return btf.prototype(function, where), btf

    def tracepoint(self, name: str, where: Location) -> tuple[Prototype, Btf]:
        """The parameters of a tracepoint there, as of a function that returns nothing. Raises Stop."""
        from specc.btf.tracepoints import find_tracepoint, tracepoint

        btf = next((b for b in self.btfs if find_tracepoint(b, name)), self.btfs[0])
        return tracepoint(btf, name, where), btf

    def tracepoints(self, name: str) -> tuple[Prototype, ...]:
        """All tracepoints of that name there, also such whose parameters have no names."""
        from specc.btf.tracepoints import find_tracepoint

        return next((found for b in self.btfs if (found := find_tracepoint(b, name))), ())

    def find(self, function: str) -> tuple[Prototype, ...]:
        """All functions of that name there: of the kernel, or of the first of its modules that has one."""
        return next((found for b in self.btfs if (found := b.find(function))), ())


@dataclass(slots=True)
class Sources:
    """What prototypes are read from. `preprocessor` gives the argv of a C compiler, and may Stop when there is none.

    `btf_files` are those of the command line, `variable` is $SPECC_TARGETS. `dependencies` collects every file that a
    result depended on, and `absent` those that it would have depended on had they been there, for caches and make.
    """

    preprocessor: Callable[[], tuple[str, ...]]
    btf_files: tuple[Path, ...] = ()
    variable: str = ""
    dependencies: dict[str, None] = field(default_factory=dict)
    absent: dict[str, None] = field(default_factory=dict)
    _headers: dict[_Key, tuple[HeaderIndex, tuple[str, ...]] | Stop] = field(default_factory=dict)
    _macros: dict[_Key, Macros] = field(default_factory=dict)
    _started: dict[_Key, Preprocessing] = field(default_factory=dict)
    _configs: Configs = field(default_factory=Configs)
    _targets: dict[tuple[TargetFile, ...], tuple[Target, ...]] = field(default_factory=dict)
    _kernels: dict[Path, Btf] = field(default_factory=dict)
    _modules: dict[tuple[Path, Path], Btf] = field(default_factory=dict)
    _running: Btf | None = None

    def start(self, spec: Spec) -> None:
        """Start the preprocessor on a spec's headers; `headers` takes up what it gives. Raises Stop."""
        from specc.headers import start_preprocess

        key = _header_key(spec)
        if not spec.headers or key in self._headers or key in self._started:
            return
        places = [h.where for h in spec.headers]
        self._started[key] = start_preprocess(*key, self.preprocessor(), places=places)

    def headers(self, spec: Spec) -> HeaderIndex | None:
        """The index of a spec's headers, None when it names none. Raises Stop."""
        if not spec.headers:
            return None
        key = _header_key(spec)
        if key not in self._headers:
            self.start(spec)
            try:
                self._headers[key] = self._indexed(self._started.pop(key))
            except Stop as problem:
                self._headers[key] = problem
        found = self._headers[key]
        if isinstance(found, Stop):
            raise found
        index, dependencies = found
        self.dependencies.update(dict.fromkeys(dependencies))
        return index

    def macros(self, spec: Spec) -> Macros:
        """The macros of a spec's headers."""
        from specc.headers import Macros

        key = _header_key(spec)
        if key not in self._macros:
            self._macros[key] = Macros(*key, self.preprocessor())
        return self._macros[key]

    def _indexed(self, started: Preprocessing) -> tuple[HeaderIndex, tuple[str, ...]]:
        from specc.headers import HeaderIndex

        result = started.finish()
        return HeaderIndex(result.text), tuple(result.dependencies)

    def btfs(self) -> tuple[Btf, ...]:
        """The BTF files of the command line, a module's on top of its kernel's."""
        return tuple(btf for target in self._opened(_files(self.btf_files)) for btf in target.btfs)

    def targets(self, spec: Spec) -> tuple[Target, ...]:
        """The kernels that a spec is compiled for, none where it is the running one: those of the command line, else of
        the environment, else of the spec, else of the nearest config. Raises Stop."""
        if self.btf_files:
            return self._opened(_files(self.btf_files))
        if self.variable:
            return self._opened(_files(expand(self.variable)))
        folder, named = str(Path(spec.path).parent), spec.targets
        if not named:
            config = self._configs.near(folder, self.dependencies, self.absent)
            if config is None:
                return ()
            folder, named = config.folder, config.targets
        return self._opened(target_files(named, folder))

    def look(self, spec: Spec) -> None:
        """Raises Stop when a file that is named as a target is not there, or a config says nonsense: also where no probe of
        this spec asks for targets, so that nobody learns of it only with the first that does."""
        if self.btf_files or self.variable:
            for path in self.btf_files or map(Path, expand(self.variable)):
                if not path.is_file():
                    self._open_anew(path, None)  # which says why
                self.dependencies[str(path)] = None
            return
        folder, named = str(Path(spec.path).parent), spec.targets
        if not named:
            config = self._configs.near(folder, self.dependencies, self.absent)
            folder, named = (config.folder, config.targets) if config is not None else (folder, ())
        self.dependencies.update(dict.fromkeys(file.path for file in target_files(named, folder)))

    def _opened(self, files: tuple[TargetFile, ...]) -> tuple[Target, ...]:
        """Every file is opened once in a run; one with a module's BTF belongs to the kernel's before it."""
        self.dependencies.update(dict.fromkeys(file.path for file in files))
        if files not in self._targets:
            kernels: list[TargetFile] = []
            groups: list[list[Btf]] = []
            for file in dict.fromkeys(files):
                btf = self._open(file, Path(kernels[-1].path) if kernels else None)
                if btf.base is None or not groups:
                    if kernels and file.name is not None and kernels[-1].name is file.name:
                        raise stop("SP131", f"{file.path} has the BTF of another kernel, not of a module", file.where,
                                   help="make a target of each kernel")  # fmt: skip
                    groups.append([])
                    kernels.append(file)
                groups[-1].append(btf)
            made = zip(target_names(kernels), groups, strict=True)
            self._targets[files] = tuple(Target(name, tuple(group)) for name, group in made)
        return self._targets[files]

    def _open(self, file: TargetFile, kernel: Path | None) -> Btf:
        path = Path(file.path)
        if path in self._kernels:
            return self._kernels[path]
        if kernel is not None and (kernel, path) in self._modules:
            return self._modules[kernel, path]
        try:
            return self._open_anew(path, kernel)
        except Stop as problem:
            if file.where is None or problem.diagnostic.where is not None:
                raise
            raise Stop(replace(problem.diagnostic, where=file.where)) from None

    def _open_anew(self, path: Path, kernel: Path | None) -> Btf:
        from specc.btf import open_btf

        try:
            opened = open_btf(path)
        except Stop as problem:
            if problem.diagnostic.code != "SP236" or kernel is None:
                raise
        else:
            if opened.base is None or kernel is None:
                self._kernels[path] = opened
                return opened
        # A module; what some bring along of their kernel's types is only a part of them.
        self._modules[kernel, path] = opened = open_btf(path, self._kernels[kernel])
        return opened

    def running_kernel(self) -> Btf:
        from specc.btf import open_btf

        self.dependencies[str(RUNNING_KERNEL)] = None
        if self._running is None:
            self._running = open_btf(RUNNING_KERNEL)
        return self._running


def _files(paths: Iterable[Path | str]) -> tuple[TargetFile, ...]:
    return tuple(TargetFile(str(path)) for path in paths)


def target_names(kernels: Sequence[TargetFile]) -> list[str]:
    """What kernels are called: as they are named, or after their files, with as many directories as tell them apart.
    Raises Stop when they cannot be."""
    parts = [Path(kernel.path).parts for kernel in kernels]
    names: list[str] = []
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = [
            kernel.name.text if kernel.name else "/".join(words[-depth:]).removesuffix(".btf")
            for kernel, words in zip(kernels, parts, strict=True)
        ]
        if len(set(names)) == len(names):
            return names
    for kernel in kernels:
        if kernel.name is not None and names.count(kernel.name.text) > 1:
            raise stop("SP130", f"two targets are called `{kernel.name.text}`", kernel.name.where,
                       help="give it another name")  # fmt: skip
    return names


def _header_key(spec: Spec) -> _Key:
    """What a preprocessor's output depends on: headers, include directories, macros."""
    base = Path(spec.path).parent
    names = tuple(Path(h.text) if h.text.startswith("<") else base / h.text for h in spec.headers)
    return names, tuple(base / d.text for d in spec.include_dirs), spec.defines
