"""Print the shape of the code and fail where it outgrows its limits.

Limits: no file over 400 lines, nine of ten functions within 32 lines, every suppression of a checker
names the rule and its reason. Usage: python tools/check_shape.py [FOLDER ...]
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PRODUCT_FOLDERS = ("engine", "fakesieve", "workers", "api", "migrations")
OTHER_FOLDERS = ("tests", "tools", "bench")
FILE_LINES_MAX = 400
FUNCTION_LINES_P90_MAX = 32
REASON_LETTERS_MIN = 8

_SUPPRESSION = re.compile(r"#\s*(?P<tool>noqa|type:\s*ignore|pyright:\s*ignore)(?P<rest>.*)$")
_RULES = re.compile(r"^(:\s*[A-Z]+[0-9]+(,\s*[A-Z]+[0-9]+)*|\[[\w, -]+\])")


@dataclass(frozen=True)
class FunctionShape:
    """Length in lines, signature and decorators included, and whether the result is annotated."""

    place: str
    lines: int
    has_return_type: bool


@dataclass(frozen=True)
class FileShape:
    """One module: its length, its functions, and the suppressions that lack a rule or a reason."""

    path: Path
    lines: int
    functions: tuple[FunctionShape, ...]
    suppressions: int
    unexplained: tuple[str, ...]


def find_unexplained(path: Path, lines: list[str]) -> tuple[int, tuple[str, ...]]:
    """Count the suppressions and name those without a rule or a reason, behind it or in a comment above."""
    found, unexplained = 0, list[str]()
    for number, line in enumerate(lines, 1):
        match = _SUPPRESSION.search(line)
        if match is None or _inside_string(line, match.start()):
            continue
        found += 1
        rules = _RULES.match(match["rest"])
        above = lines[number - 2].strip() if number > 1 else ""
        comment_above = above if above.startswith("#") and not _SUPPRESSION.search(above) else ""
        reason = match["rest"][rules.end() :] + comment_above if rules else ""
        if sum(c.isalpha() for c in reason) < REASON_LETTERS_MIN:
            unexplained.append(f"{path}:{number}")
    return found, tuple(unexplained)


def _inside_string(line: str, position: int) -> bool:
    return any(line[:position].count(quote) % 2 for quote in "\"'")


def measure_file(path: Path) -> FileShape:
    """Read one module and measure it."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    functions = tuple(
        FunctionShape(f"{path}:{node.lineno} {node.name}", _length(node), node.returns is not None)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    found, unexplained = find_unexplained(path, lines)
    return FileShape(path, len(lines), functions, found, unexplained)


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return (node.end_lineno or node.lineno) - first + 1


def quantile(values: list[int], share: float) -> int:
    """The smallest value that at least ``share`` of the values do not exceed; 0 for no values."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 100) // 100) - 1)] if ordered else 0


def find_faults(files: list[FileShape], folder: str) -> Iterator[str]:
    """Name everything in one folder that is over a limit."""
    for file in files:
        if file.lines > FILE_LINES_MAX:
            yield f"{file.path}: {file.lines} lines, at most {FILE_LINES_MAX}; split it by subject"
        for place in file.unexplained:
            yield f"{place}: a suppression names its rule and says why: '# noqa: S603 - fixed argument list'"
    lengths = [f.lines for file in files for f in file.functions]
    if quantile(lengths, 0.9) > FUNCTION_LINES_P90_MAX:
        longest = sorted((f for file in files for f in file.functions), key=lambda f: -f.lines)[:8]
        yield f"{folder}: one function in ten is over {FUNCTION_LINES_P90_MAX} lines, the longest:"
        yield from (f"  {f.lines} lines {f.place}" for f in longest)


def describe(files: list[FileShape], folder: str) -> str:
    """One line of figures for a folder."""
    functions = [f for file in files for f in file.functions]
    lengths, sizes = [f.lines for f in functions], [f.lines for f in files]
    typed = sum(f.has_return_type for f in functions) / max(1, len(functions))
    long, longest = quantile(lengths, 0.9), max(lengths, default=0)
    return (
        f"{folder:<10} {len(files):>4} files {sum(sizes):>6} lines"
        f"  file median/p90/max {quantile(sizes, 0.5)}/{quantile(sizes, 0.9)}/{max(sizes)}"
        f"  {len(functions):>4} functions {quantile(lengths, 0.5)}/{long}/{longest}"
        f"  typed {typed:.0%}  suppressions {sum(f.suppressions for f in files)}"
    )


def main(folders: list[str]) -> int:
    """Measure the folders, print figures and faults, and return the exit status."""
    faults = list[str]()
    for folder in folders or [f for f in (*PRODUCT_FOLDERS, *OTHER_FOLDERS) if Path(f).is_dir()]:
        files = [measure_file(p) for p in sorted(Path(folder).rglob("*.py"))]
        if files:
            print(describe(files, folder))
            faults += find_faults(files, folder)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
