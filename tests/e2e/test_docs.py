"""What the documentation says is so: links resolve, pages match the code, commands exist and run."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from engine.cli.evaluate import evaluate
from engine.cli.scan import scan
from engine.container import Container
from engine.faces.detect import MtcnnParameters
from engine.faces.link import TrackRules
from engine.faces.quality import QualityRules
from engine.limits import CODECS, Limits
from engine.results import EvidenceReason, MediaWarning, Outcome, RejectReason, VerdictReason, VerdictValue
from engine.sampling import Sampling
from engine.score import ScoringParams
from fakesieve.__main__ import COMMANDS
from tests.assets import pyfeat_dir
from tests.e2e.blocks import (
    ALONE,
    BLOCK,
    CODE,
    NOT_RUN,
    PAGES,
    ROOT,
    RUN_BY,
    Block,
    list_blocks,
    read_blocks,
    read_lines,
)
from tests.waiting import PATIENCE_S
from workers.input_limits import SETTINGS

LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)|!\[[^\]]*\]\((?P<picture>[^)\s]+)\)")


def commands() -> Iterator[tuple[Block, list[str]]]:
    """Each ``fakesieve`` command of each shell block, as words."""
    for block in read_blocks():
        if block.language == "shell":
            for line in read_lines(block):
                words = line.split()
                if words[0] == "fakesieve":
                    yield block, words[1:]


@pytest.mark.parametrize("block", [b for b in read_blocks() if b.language in CODE], ids=str)
def test_something_runs_each_block_of_code(block: Block) -> None:
    by = block.run_by or block.checked_by
    assert by is not None, "mark it runnable, or name in tests/e2e/blocks.py what runs it"
    assert None in (block.run_by, block.checked_by)
    if by.startswith("tests/"):
        assert (ROOT / by).exists()


def test_no_command_hides_in_a_block_of_words() -> None:
    hidden = [str(block) for block in read_blocks() if block.hides_commands]
    assert hidden == [], "mark them as shell, and name in tests/e2e/blocks.py what runs them"
    assert Block(ROOT / "README.md", 1, "text", "  $ fakesieve users ls\n").hides_commands
    assert Block(ROOT / "README.md", 1, "", "first\nkubectl apply\n").hides_commands
    assert not Block(ROOT / "README.md", 1, "", "fakesieve: the command\n").hides_commands


def test_what_is_said_to_run_blocks_is_of_use() -> None:
    """A page or text that is gone would leave its entry behind."""
    named = {*RUN_BY, *NOT_RUN}
    stale = named - {
        (str(block.page.relative_to(ROOT)), part)
        for block in read_blocks()
        for name, part in named
        if name == str(block.page.relative_to(ROOT)) and part in block.body
    }
    assert stale == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_pictures_resolve(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    targets = [m["target"] or m["picture"] for m in LINK.finditer(text)]
    local = [t.split("#")[0] for t in targets if "://" not in t and not t.startswith(("#", "mailto:"))]
    assert [t for t in local if not (page.parent / t).exists()] == []


def test_every_page_is_reachable_from_the_readme() -> None:
    seen, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        targets = [m["target"] for m in LINK.finditer(text) if m["target"] and "://" not in m["target"]]
        found = [(page.parent / t.split("#")[0]).resolve() for t in targets if not t.startswith("#")]
        waiting += [f for f in found if f.is_file()]
        waiting += [f for folder in found if folder.is_dir() for f in folder.glob("*.md")]
    assert [str(p.relative_to(ROOT)) for p in PAGES if p not in seen] == []


def test_each_decision_is_listed_under_its_title() -> None:
    folder = ROOT / "docs/decisions"
    text = (folder / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", text, re.MULTILINE)
    pages = sorted(folder.glob("[0-9]*.md"))
    titles = [page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for page in pages]
    assert sorted(listed) == [(title, page.name) for title, page in zip(titles, pages, strict=True)]


def test_the_reasons_page_lists_exactly_the_reasons_of_the_code() -> None:
    text = (ROOT / "docs/reference/reasons.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    expected = [*RejectReason, *EvidenceReason, *MediaWarning, *VerdictReason]
    assert sorted(listed) == sorted(map(str, expected))


def test_the_score_page_names_every_outcome_and_verdict() -> None:
    text = (ROOT / "docs/explanation/score.md").read_text(encoding="utf-8")
    assert [str(v) for v in (*Outcome, *VerdictValue) if f"`{v}`" not in text] == []


def limit_rows() -> dict[str, str]:
    text = (ROOT / "docs/reference/limits.md").read_text(encoding="utf-8")
    cells = [
        [c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return {row[0]: row[1] for row in cells}


def test_the_limits_page_states_the_defaults_of_the_code() -> None:
    limits, faces, scoring, sampling = Limits(), QualityRules(), ScoringParams(), Sampling()
    rows = limit_rows()
    expected = {
        "size of the file": f"{limits.size_bytes >> 30} GiB",
        "duration": f"{limits.duration_us // 3_600_000_000} h",
        "pixels of a frame": f"{limits.pixels:,} (7680 x 4320)",
        "longest side": f"{limits.side_px:,} px",
        "shortest side": f"{limits.min_side_px} px",
        "streams in the file": f"{limits.streams}",
        "frames": f"{limits.frames:,}",
        "wall time of one look or one stretch of decoding": f"{limits.wall_s:g} s",
        "memory of the decoder beyond its libraries": f"{limits.memory_bytes >> 30} GiB",
        "samples per second of video": f"{sampling.rate_hz:g}",
        "least samples of a video": f"{sampling.min_samples}",
        "most samples of a video": f"{sampling.max_samples}",
        "video time decoded in one piece": f"{sampling.shard_us // 1_000_000} s",
        "faces found in one frame": f"{MtcnnParameters().max_faces}",
        "faces followed at the same time": f"{TrackRules().max_tracks}",
        "shorter side of the face's box": f"{faces.min_size_px:g} px",
        "area of the box over the picture": f"{faces.min_area_share * 100:g} %",
        "part of the crop inside the picture": f"{faces.min_visible * 100:g} %",
        "mean brightness of the face, 0 to 255": f"{faces.min_brightness:g} to {faces.max_brightness:g}",
        "sharpness (variance of the Laplacian at 224 px)": f"{faces.min_sharpness:g}",
        "confidence of the detector": f"{faces.min_confidence:g}",
        "turned sideways": f"{faces.max_yaw:g} degrees",
        "bent up or down": f"{faces.max_pitch:g} degrees",
        "tilted": f"{faces.max_roll:g} degrees",
        "scored frames that a face of a video needs": f"{scoring.min_frames}",
        "planned frames that must have been decoded for a score": f"{scoring.least_decoded * 100:g} %",
        "and for `scored` instead of `partially_scored`": f"{scoring.whole_decoded * 100:g} %",
    }
    assert {name: rows.get(name) for name in expected} == expected


def test_the_limits_page_says_what_sets_each_limit() -> None:
    text = (ROOT / "docs/reference/limits.md").read_text(encoding="utf-8")
    table = text[: text.index("Containers:")]
    assert re.findall(r"`FAKESIEVE_(\w+)` \|", table) == [name.upper() for name in SETTINGS.values()]
    named = [name.replace("-", "_") for name in re.findall(r"`--([\w-]+)` \|", table)]
    assert len(named) == len(SETTINGS)
    for command in (scan, evaluate):
        assert set(named) <= set(inspect.signature(command).parameters)


def test_the_limits_page_names_every_codec_and_container() -> None:
    text = (ROOT / "docs/reference/limits.md").read_text(encoding="utf-8").casefold().replace(".", "")
    spelt = {"mpegts": "mpeg-ts", "mpeg4": "mpeg-4 part 2"}
    known = [*CODECS, *(str(c) for c in Container)]
    assert [name for name in known if spelt.get(name, name) not in text] == []


def test_make_targets_that_pages_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    shells = [block.body for block in read_blocks() if block.language == "shell"]
    named = {m for body in shells for m in re.findall(r"^make ([a-z]+)", body, re.MULTILINE)}
    assert named <= known


# Prints every help text in turn, as the program itself does, from a process that has nothing else in it.
TELL_HELP = """
import contextlib, io, json, sys
import typer
from fakesieve.__main__ import COMMANDS, main
texts = {}
for name, command in COMMANDS.items():
    members = getattr(typer.main.get_command(command.load()), "commands", None)
    for words in [[name]] if members is None else [[name, member] for member in members]:
        said, code = io.StringIO(), None
        try:
            with contextlib.redirect_stdout(said):
                main([*words, "--help"])
        except SystemExit as end:
            code = end.code
        texts[" ".join(words)] = "" if code else said.getvalue()
json.dump(texts, sys.stdout)
"""


@cache
def help_texts() -> dict[str, str]:
    """The help text of every command, those of groups apart; empty where asking for it was an error."""
    run = subprocess.run(
        [sys.executable, "-c", TELL_HELP],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_every_command_has_a_help_text() -> None:
    assert [command for command, text in help_texts().items() if "Usage: fakesieve" not in text] == []


@pytest.mark.parametrize(("block", "words"), [pytest.param(b, w, id=f"{b} {w[:2]}") for b, w in commands()])
def test_commands_and_options_that_pages_show_exist(block: Block, words: list[str]) -> None:
    if words[0].startswith("-"):
        return
    texts = help_texts()
    command = next((c for c in (" ".join(words[:2]), words[0]) if c in texts), None)
    assert command is not None, f"there is no command fakesieve {' '.join(words[:2])}"
    options = [w.split("=")[0] for w in words if w.startswith("--") and len(w) > 2]
    assert [o for o in options if o not in texts[command]] == []


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_page_of_commands_names_every_option(name: str) -> None:
    text = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
    helps = {command: told for command, told in help_texts().items() if command.split()[0] == name}
    assert [c for c in helps if " " in c and c.split()[1] not in section] == []
    options = {o for told in helps.values() for o in re.findall(r"--[a-z][a-z-]+", told)} - {"--help"}
    assert sorted(o for o in options if o not in section) == []


def test_the_page_of_commands_says_which_can_be_tried_without_doing_anything() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    sentence = text.split(" has `--dry-run`: ")[1].split(". Other commands")[0]
    listed = re.findall(r"`([a-z ]+)`", sentence)
    assert sorted(listed) == sorted(c for c, told in help_texts().items() if "--dry-run" in told)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what runnable blocks may use: clip.mp4, a folder of videos, and results of both."""
    folder = tmp_path_factory.mktemp("docs")
    videos = folder / "videos"
    videos.mkdir()
    (folder / "clip.mp4").write_bytes((pyfeat_dir() / "single_face.mp4").read_bytes())
    (videos / "first.mp4").write_bytes((pyfeat_dir() / "single_face.mp4").read_bytes())
    (videos / "broken.mp4").write_bytes(b"not a video")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").write_text("# the environment of this test is active\n")
    scan = ["fakesieve", "scan", "clip.mp4", "videos", "--jsonl", "--out", "results"]
    assert run_in(folder, scan, folder / "results.jsonl") == 3
    return folder


def run_in(folder: Path, command: list[str], stdout: Path) -> int:
    """Run a command of this environment in a folder; fail on a traceback, return its exit code."""
    scripts = Path(sys.executable).parent
    with stdout.open("w") as out:
        run = subprocess.run(
            [str(scripts / command[0]), *command[1:]] if command[0] == "fakesieve" else command,
            cwd=folder,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            timeout=600,
            check=False,
            env={
                "PATH": f"{scripts}:/usr/bin:/bin",
                "PYTHONPATH": str(ROOT),
                "HOME": str(folder),
                "LANG": "C.UTF-8",
            },
        )
    assert "Traceback" not in run.stderr, run.stderr
    return run.returncode


@pytest.mark.parametrize("block", list_blocks(ALONE, "shell"), ids=str)
def test_runnable_shell_blocks_run(block: Block, workplace: Path) -> None:
    """A block may end with 3: one input of the example folder is broken and has no score."""
    assert run_in(workplace, ["sh", "-c", block.body], workplace / "stdout.txt") in (0, 3)


@pytest.mark.parametrize("block", list_blocks(ALONE, "python"), ids=str)
def test_runnable_python_blocks_print_something(block: Block, workplace: Path) -> None:
    stdout = workplace / "stdout.txt"
    assert run_in(workplace, [sys.executable, "-c", block.body], stdout) == 0
    assert stdout.read_text(encoding="utf-8")
