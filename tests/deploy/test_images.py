"""The Dockerfile: linted, its targets, and that the build sees what the wheel is made of and nothing else."""

import re
import subprocess
import tomllib

import pytest

from fakesieve.__main__ import COMMANDS
from tests.deploy.manifests import ROOT, find_tool
from tests.waiting import PATIENCE_S

DOCKERFILE = ROOT / "Dockerfile"


def read_targets() -> dict[str, str]:
    """The lines of each stage, by its name."""
    text = DOCKERFILE.read_text(encoding="utf-8")
    parts = re.split(r"^FROM \S+ AS (\S+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_hadolint_finds_nothing() -> None:
    run = subprocess.run(
        [find_tool("hadolint"), str(DOCKERFILE)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (run.returncode, run.stdout) == (0, "")


def test_there_is_an_image_for_each_kind_of_machine() -> None:
    assert list(read_targets()) == ["wheel", "worker-cpu", "api", "worker-gpu"]


@pytest.mark.parametrize("target", ["worker-cpu", "worker-gpu"])
def test_an_image_runs_our_command_and_not_as_root(target: str) -> None:
    lines = read_targets()[target].splitlines()
    assert "USER 10001:10001" in lines
    assert 'ENTRYPOINT ["fakesieve"]' in lines
    assert 'CMD ["worker"]' in lines
    assert "worker" in COMMANDS


def test_the_image_of_the_api_serves_and_not_as_root() -> None:
    lines = read_targets()["api"].splitlines()
    assert "FROM worker-cpu AS api" in DOCKERFILE.read_text(encoding="utf-8").splitlines()
    assert 'CMD ["serve"]' in lines
    assert not [line for line in lines if line.startswith("USER")]  # that of worker-cpu stays
    assert "serve" in COMMANDS


def test_the_build_sees_what_the_wheel_is_made_of() -> None:
    shown = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    needs = packages | {"pyproject.toml", *project["project"]["license-files"], project["project"]["readme"]}
    assert shown == needs | {"constraints.txt"}
    copied = set(
        " ".join(re.findall(r"^COPY (.+) \S+$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)).split()
    )
    assert copied == needs
    assert all((ROOT / name).exists() for name in shown)


def test_each_package_of_the_wheel_says_that_it_is_typed() -> None:
    """Without the mark a checker takes all that is imported from a package for untyped."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel) == {"packages"}  # nothing in these folders is left out
    marks = [f"{package}/py.typed" for package in wheel["packages"]]
    assert [mark for mark in marks if not (ROOT / mark).is_file()] == []
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *marks],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert ignored.stdout == ""  # the build leaves out what git ignores
