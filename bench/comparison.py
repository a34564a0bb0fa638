"""What the rows of a run say: each contender's own figures, and ours against the peers' within each round."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.measure import Timed
from bench.report import Figure, ratio

OURS = ("fakesieve", "fakesieve-32")
PEERS = ("N2", "N1", "N0")
CONTENDERS = (*OURS, *PEERS)
SCREENED_SETS = ("A", "B", "C")
STAGES = ("probe", "decode", "detect", "crop", "predict", "score")
SHARED_STAGES = ("decode", "detect", "crop", "predict")  # those that the peers do apart, too


@dataclass(frozen=True)
class Row:
    """One set by one contender in one round."""

    round: int
    clip_set: str
    contender: str
    videos: tuple[Timed, ...]

    @property
    def videos_per_minute(self) -> float:
        """Throughput over the set, one video at a time."""
        return 60_000 * len(self.videos) / sum(v.whole_video_ms for v in self.videos)

    @property
    def peak_mib(self) -> float:
        """Most memory that a video of the set took, in MiB."""
        return max(v.peak_pss_bytes for v in self.videos) / 2**20

    def stage_ms(self, stage: str) -> float | None:
        """Mean time of one stage per video, extrapolated like the whole; None where it is not done apart."""
        if not any(stage in v.screening.stages_ms for v in self.videos):
            return None
        spent = (v.screening.stages_ms.get(stage, 0.0) * v.screening.scale for v in self.videos)
        return sum(spent) / len(self.videos)


def assemble_figures(rows: Sequence[Row], measured: Sequence[Figure]) -> list[Figure]:
    """All figures of a run in the order of its page: those of its rows, then those measured beside them.

    What follows from rows and first verdicts is computed anew, also where ``measured`` holds it already.
    """
    from_rows, compared = list(summarise(rows)), list(compare_first_verdicts(measured))
    derived = {figure.name for figure in (*from_rows, *compared)}
    beside = [figure for figure in measured if figure.name not in derived]
    waits = [figure for figure in beside if ": first verdict of " in figure.name]
    return [*from_rows, *waits, *compared, *(figure for figure in beside if figure not in waits)]


def summarise(rows: Sequence[Row]) -> Iterator[Figure]:
    """Turn rows into throughput and memory, each with its ratios: how many times better ours is."""
    for clip_set in SCREENED_SETS:
        own = {name: _rows_of(rows, clip_set, name) for name in CONTENDERS}
        speeds = {name: _speed(clip_set, name, taken) for name, taken in own.items()}
        yield from speeds.values()
        for ours, peer in _pairs():
            yield ratio(f"{clip_set}: speed of {ours} over {peer}", speeds[ours], speeds[peer])
        peaks = {name: _peak(clip_set, name, taken) for name, taken in own.items()}
        yield from peaks.values()
        for ours, peer in _pairs():
            yield ratio(f"{clip_set}: peak memory of {peer} over {ours}", peaks[peer], peaks[ours])


def compare_first_verdicts(figures: Sequence[Figure]) -> Iterator[Figure]:
    """How many times as long a peer takes to its first verdict, for each pair of which both were timed."""
    timed = {figure.name: figure for figure in figures}
    for clip_set in SCREENED_SETS:
        for ours, peer in _pairs():
            own = timed.get(f"{clip_set}: first verdict of {ours}")
            other = timed.get(f"{clip_set}: first verdict of {peer}")
            if own and other:
                yield ratio(f"{clip_set}: first verdict of {peer} over {ours}", other, own)


def tabulate_stages(rows: Sequence[Row]) -> str:
    """Write the milliseconds of each stage per video as a Markdown table: median, least and greatest."""
    lines = [f"| set, contender | {' | '.join(STAGES)} |", "|---|" + "---|" * len(STAGES)]
    for clip_set in SCREENED_SETS:
        for name in CONTENDERS:
            stages = _stages(_rows_of(rows, clip_set, name))
            cells = [stages[each].spread() if each in stages else "" for each in STAGES]
            lines.append(f"| {clip_set}, {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def tabulate_stage_ratios(rows: Sequence[Row]) -> str:
    """Write how many times as long as ours each stage of a peer takes, as a Markdown table.

    There is none where one of the two found no face, so that what follows was not done, nor where ours took
    less than the millisecond that its clock tells.
    """
    lines = [f"| set, peer over ours | {' | '.join(SHARED_STAGES)} |", "|---|" + "---|" * len(SHARED_STAGES)]
    for clip_set in SCREENED_SETS:
        stages = {name: _stages(_rows_of(rows, clip_set, name)) for name in CONTENDERS}
        for ours, peer in _pairs():
            own, other = stages[ours], stages[peer]
            told = [each for each in own if each in other and min(own[each].values) > 0]
            ratios = {each: ratio(each, other[each], own[each]) for each in told}
            cells = [ratios[each].spread() if each in ratios else "" for each in SHARED_STAGES]
            lines.append(f"| {clip_set}, {peer} over {ours} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _pairs() -> list[tuple[str, str]]:
    return [(ours, peer) for ours in OURS for peer in PEERS]


def _rows_of(rows: Sequence[Row], clip_set: str, name: str) -> list[Row]:
    return [row for row in rows if (row.clip_set, row.contender) == (clip_set, name)]


def _stages(rows: Sequence[Row]) -> dict[str, Figure]:
    """Return the stages that a contender does apart, by their name."""
    found: dict[str, Figure] = {}
    for stage in STAGES:
        times = [row.stage_ms(stage) for row in rows]
        known = tuple(each for each in times if each is not None)
        if len(known) == len(times):
            found[stage] = Figure(stage, "ms", known)
    return found


def _peak(clip_set: str, name: str, rows: Sequence[Row]) -> Figure:
    return Figure(f"{clip_set}: peak memory of {name}", "MiB", tuple(row.peak_mib for row in rows))


def _speed(clip_set: str, name: str, rows: Sequence[Row]) -> Figure:
    looked = rows[0].videos[0].screening
    scores = [v.screening.score for v in rows[0].videos if v.screening.score is not None]
    note = (
        f"{looked.faces} faces in the first video, mean score {sum(scores) / len(scores):.3f}"
        if scores
        else ""
    )
    if looked.scale > 1:
        note += f"; extrapolated from {looked.frames_read} of {looked.frames_in_video} frames"
    speeds = tuple(row.videos_per_minute for row in rows)
    return Figure(f"{clip_set}: videos per minute, {name}", "1/min", speeds, note)
