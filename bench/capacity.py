"""What a service of a given size needs, computed from measured figures and named assumptions.

Usage: python -m bench.capacity [--write] [--hours-per-minute H]

Prints the tables of docs/capacity.md; with --write it puts them into the page. The inputs are the JSON files
of bench/results, so a new run and this command bring the page up to date.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.sampling import Sampling

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "capacity.md"
BEGIN, END = "<!-- computed by python -m bench.capacity --write -->", "<!-- end of what is computed -->"
HOURS_PER_MINUTE = 500.0
CLIP_MINUTES = (1.0, 4.4, 10.0)
DAY_S = 86_400
WIDE_TABLES = ("frame_score", "patch_map")
ASSUMED = "assumption"


@dataclass(frozen=True)
class Input:
    """One figure of the formulas; ``source`` is a file of bench/results, or says that it is assumed."""

    name: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class Result:
    """One line of the answer: a value for each length of clips."""

    name: str
    values: tuple[float, ...]
    unit: str


class Sources:
    """The files of results, and the figures in them by name."""

    def __init__(self, folder: Path = RESULTS) -> None:
        self.folder = folder
        self._short, self._fleet, self._database = (
            json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("short", "fleet", "database")
        )

    @property
    def notes(self) -> dict[str, str]:
        """What a file says of the machine that its figures were taken on, where it says something."""
        files = {"short": self._short, "fleet": self._fleet, "database": self._database}
        return {name: found["note"] for name, found in files.items() if found.get("note")}

    def short(self, name: str) -> float:
        """Return the median of a figure of ``make bench``."""
        return _median(self._short["figures"], name)

    def fleet(self, name: str) -> float:
        """Return the median of a figure of ``python -m bench.fleet``."""
        return _median(self._fleet["figures"], name)

    def detect_core_s(self, clip_set: str = "B") -> float:
        """Core-seconds of face detection for one frame at most: wall time by all threads."""
        rows = [
            r for r in self._short["rows"] if (r["clip_set"], r["contender"]) == (clip_set, "fakesieve-32")
        ]
        spent_ms = [v["screening"]["stages_ms"]["detect"] for row in rows for v in row["videos"]]
        threads = int(self._short["machine"]["threads"])
        return sum(spent_ms) / len(spent_ms) / 1000 * threads / 32

    @property
    def filled(self) -> Mapping[str, Any]:
        """How the measured database was filled."""
        return self._database["filled"]

    def table(self, name: str) -> Mapping[str, Any]:
        """Return the sizes of one table."""
        return next(size for size in self._database["sizes"] if size["name"] == name)

    def fixed_rows(self) -> float:
        """Rows that an analysis has whatever its length: all but faces in frames and their maps."""
        sizes = [size for size in self._database["sizes"] if size["name"] not in WIDE_TABLES]
        return sum(size["rows"] for size in sizes) / self.filled["analyses"]

    def fixed_bytes(self) -> float:
        """Bytes that an analysis has whatever its length, its evidence left out."""
        sizes = [size for size in self._database["sizes"] if size["name"] not in WIDE_TABLES]
        total = sum(size["table_bytes"] + size["index_bytes"] for size in sizes)
        kept = self._database.get("kept_bytes", self._database["evidence_bytes"])
        return (total - kept * self.filled["whole"]) / self.filled["analyses"]

    def bytes_per_face(self, name: str) -> float:
        """Bytes of a wide table, with its indexes, for one face in one frame."""
        size = self.table(name)
        return (size["table_bytes"] + size["index_bytes"]) / self.table("frame_score")["rows"]

    def evidence_per_face(self) -> float:
        """Bytes of evidence for one face in one frame."""
        faces = self.table("frame_score")["rows"] / self.filled["whole"]
        return self._database["evidence_bytes"] / faces

    def jobs_per_s(self) -> float:
        """Whole jobs a second with all writers, on the machine that also ran the writers."""
        return max(
            rate["count"] / rate["seconds"] for rate in self._database["rates"] if rate["name"] == "whole job"
        )


def _median(figures: Sequence[Mapping[str, Any]], name: str) -> float:
    values = sorted(next(figure["values"] for figure in figures if figure["name"] == name))
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def read_inputs(sources: Sources) -> dict[str, Input]:
    """Return all inputs by their symbol."""
    short, fleet, database = "short.json", "fleet.json", "database.json"
    found = {
        "decode": Input(
            "decoding a sample, 720p, keyframe every 2 s",
            sources.short("D50: core-seconds of ours, default sampling") / Sampling().max_samples,
            "core-s", short,
        ),
        "detect": Input("finding faces in a sample, 720p, at most", sources.detect_core_s(), "core-s", short),
        "compact": Input(
            "lv-compact, a face", 1 / sources.short("faces per second, lv-compact, one core"), "core-s", short
        ),
        "xception": Input(
            "lv-xception, a face, at most",
            2 / sources.short("faces per second, lv-xception on onnxruntime"), "core-s", short,
        ),
        "piece": Input(
            "preparing a job, slot time at most", sources.fleet("prepare: time of a piece, p50") / 1000,
            "s", fleet,
        ),
        "claim": Input(
            "result of a screen shard, p50",
            sources.fleet("queue overhead of a screen shard, p50") / 1000, "s", fleet,
        ),
        "postgres": Input(
            "Postgres, a job of one shard", sources.fleet("processor time per clip: postgres"),
            "core-s", fleet,
        ),
        "valkey": Input(
            "Valkey, a job of one shard", sources.fleet("processor time per clip: valkey"), "core-s", fleet
        ),
        "jobs": Input("whole jobs, writers on the same machine", sources.jobs_per_s(), "1/s", database),
        "rows": Input("rows of an analysis without faces and maps", sources.fixed_rows(), "rows", database),
        "fixed": Input("the same in bytes, with indexes", sources.fixed_bytes(), "bytes", database),
        "frame": Input("a face in a frame", sources.bytes_per_face("frame_score"), "bytes", database),
        "map": Input("its patch map", sources.bytes_per_face("patch_map"), "bytes", database),
        "evidence": Input("its evidence in the shard's row", sources.evidence_per_face(), "bytes", database),
    }  # fmt: skip
    return found | ASSUMPTIONS


ASSUMPTIONS: Mapping[str, Input] = {
    "faces": Input("faces in a sample, mean", 1.0, "faces", ASSUMED),
    "busy": Input("share of the time that cores and GPUs work", 0.7, "", ASSUMED),
    "headroom": Input("peak over mean", 1.5, "times", ASSUMED),
    "gpu": Input("lv-xception on one GPU of the L4's class", 500.0, "faces/s", ASSUMED),
    "bitrate": Input("bit rate of the videos", 5.0, "Mbit/s", ASSUMED),
    "requests": Input("requests to the store for each download of a video", 2.0, "requests", ASSUMED),
    "hosts": Input(
        "hosts that work on one video, each downloads it, at most one for a shard", 1.5, "hosts", ASSUMED
    ),
    "database_cores": Input("cores of one Postgres server", 32.0, "cores", ASSUMED),
    "kept": Input("days that faces and maps are kept", 90.0, "days", ASSUMED),
}


@dataclass(frozen=True)
class Load:
    """What comes in, in units a second, for one length of clips."""

    videos: float
    samples: float
    shards: int  # of a video
    video_s: float


def find_load(minutes: float, hours_per_minute: float) -> Load:
    """Return what comes in, by the default sampling."""
    sampling, length_s = Sampling(), 60 * minutes
    video_s = hours_per_minute * 60
    videos = video_s / length_s
    samples = min(max(length_s * sampling.rate_hz, sampling.min_samples), sampling.max_samples)
    return Load(videos, videos * samples, math.ceil(length_s * 1e6 / sampling.shard_us), video_s)


Needs = dict[str, tuple[float, str]]


def compute(inputs: Mapping[str, Input], load: Load) -> Needs:
    """Return what is needed, with units, in the order of the page."""
    value = {symbol: each.value for symbol, each in inputs.items()}
    size = value["headroom"] / value["busy"]  # of what is bought to what the mean load takes
    return {
        "videos": (load.videos, "1/s"),
        "videos a day": (load.videos * DAY_S / 1e6, "million"),
        "samples decoded and searched": (load.samples, "1/s"),
        "faces through the network": (load.samples * value["faces"], "1/s"),
        **_compute_hosts(value, load, size),
        **_compute_database(value, load, size),
        **_compute_storage(value, load),
        **_compute_objects(value, load),
    }


def _compute_hosts(value: Mapping[str, float], load: Load, size: float) -> Needs:
    faces = load.samples * value["faces"]
    decode, detect = load.samples * value["decode"], load.samples * value["detect"]
    queue = load.videos * (value["piece"] + load.shards * value["claim"])
    return {
        "cores for decoding": (size * decode, "cores"),
        "cores for finding faces": (size * detect, "cores"),
        "cores for jobs and queue": (size * queue, "cores"),
        "cores for lv-compact": (size * faces * value["compact"], "cores"),
        "cores of all hosts with lv-compact": (
            size * (decode + detect + queue + faces * value["compact"]),
            "cores",
        ),
        "cores for lv-xception, without a GPU": (size * faces * value["xception"], "cores"),
        "GPUs for lv-xception instead": (size * faces / value["gpu"], "GPUs"),
    }


def _compute_database(value: Mapping[str, float], load: Load, size: float) -> Needs:
    asked = count_asked(load.shards)
    faces = load.samples * value["faces"]
    # Measured with jobs of one shard.
    larger = asked / count_asked(1)
    postgres = load.videos * value["postgres"] * larger
    return {
        "doorbells": (load.videos * load.shards, "1/s"),
        "cores for Valkey": (size * load.videos * value["valkey"] * load.shards, "cores"),
        "transactions of Postgres": (load.videos * asked, "1/s"),
        "rows written": (load.videos * value["rows"] + faces, "1/s"),
        "cores for Postgres": (size * postgres, "cores"),
        "Postgres servers": (math.ceil(size * postgres / value["database_cores"]), "servers"),
    }


def count_asked(shards: int) -> int:
    """Return the transactions of a job: two to submit and ring it, the rest by its workers.

    Preparing takes the first shard with it, an only shard ends the job; of several the last finisher takes
    the scoring, which reads the evidence and ends the job.
    """
    return 2 + (3 if shards == 1 else 2 * shards + 3)


def _compute_storage(value: Mapping[str, float], load: Load) -> Needs:
    faces_a_day = DAY_S * load.samples * value["faces"]
    wide_tb = faces_a_day * (value["frame"] + value["map"]) / 1e12
    return {
        "a day of rows, without faces and maps": (DAY_S * load.videos * value["fixed"] / 1e9, "GB"),
        "a day of faces and maps": (wide_tb, "TB"),
        "faces and maps as long as they are kept": (wide_tb * value["kept"], "TB"),
        "evidence, kept for an hour": (faces_a_day / 24 * value["evidence"] / 1e9, "GB"),
    }


def _compute_objects(value: Mapping[str, float], load: Load) -> Needs:
    copies = min(load.shards, value["hosts"])
    return {
        "downloads from the store": (load.videos * copies, "1/s"),
        "requests to the store": (load.videos * copies * value["requests"], "1/s"),
        "bytes from the store": (load.video_s * value["bitrate"] / 8 / 1000 * copies, "GB/s"),
    }


def list_results(inputs: Mapping[str, Input], hours_per_minute: float) -> list[Result]:
    """Return the lines of the answer."""
    answers = [compute(inputs, find_load(minutes, hours_per_minute)) for minutes in CLIP_MINUTES]
    return [
        Result(name, tuple(answer[name][0] for answer in answers), unit)
        for name, (_, unit) in answers[0].items()
    ]


def format_number(value: float) -> str:
    """Write three significant digits, large numbers in full."""
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    return f"{rounded:,.{max(0, digits)}f}"


def format_tables(sources: Sources, hours_per_minute: float = HOURS_PER_MINUTE) -> str:
    """Return what stands in the page."""
    inputs = read_inputs(sources)
    lines = ["| symbol | figure | value | unit | from |", "|---|---|---|---|---|"]
    for symbol, each in inputs.items():
        source = each.source if each.source == ASSUMED else f"`bench/results/{each.source}`"
        lines.append(f"| `{symbol}` | {each.name} | {format_number(each.value)} | {each.unit} | {source} |")
    for name, note in sources.notes.items():
        lines += ["", f"`bench/results/{name}.json`: {note}"]
    heads = " | ".join(f"clips of {minutes:g} min" for minutes in CLIP_MINUTES)
    lines += ["", f"{hours_per_minute:g} hours of video a minute:", "", f"| needed | {heads} | unit |"]
    lines.append("|---|" + "---|" * (len(CLIP_MINUTES) + 1))
    for result in list_results(inputs, hours_per_minute):
        cells = " | ".join(format_number(value) for value in result.values)
        lines.append(f"| {result.name} | {cells} | {result.unit} |")
    return "\n".join(lines) + "\n"


def replace_tables(page: str, tables: str) -> str:
    """Return the page with these tables between its marks; raises ValueError without the marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def main(arguments: Sequence[str]) -> None:
    """Print the tables, and write them into the page if told to."""
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put them into docs/capacity.md")
    parser.add_argument("--hours-per-minute", type=float, default=HOURS_PER_MINUTE)
    given = parser.parse_args(arguments)
    tables = format_tables(Sources(), given.hours_per_minute)
    print(tables)
    if given.write:
        PAGE.write_text(replace_tables(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
