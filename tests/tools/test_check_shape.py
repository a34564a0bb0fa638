"""The ratchet sees what it should and lets pass what it should."""

from pathlib import Path

import pytest

from tools.check_shape import find_unexplained, main, measure_file, quantile


@pytest.mark.parametrize(
    "line",
    [
        "x = f()  # noqa",
        "x = f()  # noqa: S603",
        "x = f()  # noqa: S603 - ok",
        "x = f()  # type: ignore",
        "x = f()  # type: ignore[arg-type]",
        "x = f()  # pyright: ignore[reportCallIssue, reportArgumentType]",
    ],
)
def test_suppression_without_rule_or_reason_is_named(line: str) -> None:
    assert find_unexplained(Path("a.py"), ["", line]) == (1, ("a.py:2",))


@pytest.mark.parametrize(
    "line",
    [
        "x = f()  # noqa: S603 - the arguments are fixed",
        "x = f()  # noqa: S603, S607 - the arguments are fixed",
        "x = f()  # type: ignore[arg-type]  # a wrong type is the point of this test",
        "x = f()  # pyright: ignore[reportCallIssue] - the stub lacks this overload",
    ],
)
def test_suppression_with_rule_and_reason_passes(line: str) -> None:
    assert find_unexplained(Path("a.py"), [line]) == (1, ())


def test_reason_may_stand_in_the_comment_above() -> None:
    suppressed = "x = f()  # pyright: ignore[reportCallIssue]"
    assert find_unexplained(Path("a.py"), ["# The stub asks for a string.", suppressed]) == (1, ())
    assert find_unexplained(Path("a.py"), ["y = 'not a comment'", suppressed]) == (1, ("a.py:2",))


def test_words_about_suppressions_in_strings_do_not_count() -> None:
    assert find_unexplained(Path("a.py"), ["say('write # noqa and why')"]) == (0, ())


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.9, 0), ([7], 0.9, 7), (list(range(1, 11)), 0.9, 9), (list(range(1, 11)), 0.5, 5)],
)
def test_quantile_is_the_smallest_value_that_covers_the_share(
    values: list[int], share: float, expected: int
) -> None:
    assert quantile(values, share) == expected


def test_length_of_a_function_counts_decorators_and_signature(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("@decorate\n@again\ndef f(\n    x: int,\n) -> int:\n    return x\n")
    (function,) = measure_file(path).functions
    assert (function.lines, function.has_return_type) == (6, True)


@pytest.mark.parametrize(("lines", "status"), [(400, 0), (401, 1)])
def test_a_long_file_fails_the_check(
    tmp_path: Path, lines: int, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" * lines)
    assert main([str(tmp_path)]) == status
    assert ("at most 400" in capsys.readouterr().err) == bool(status)


@pytest.mark.parametrize(("long_ones", "status"), [(1, 0), (2, 1)])
def test_more_than_one_long_function_in_ten_fails_the_check(
    tmp_path: Path, long_ones: int, status: int
) -> None:
    bodies = [33 if i < long_ones else 2 for i in range(10)]
    text = "".join(f"def f{i}():\n" + "    x = 1\n" * (n - 1) for i, n in enumerate(bodies))
    (tmp_path / "a.py").write_text(text)
    assert main([str(tmp_path)]) == status
