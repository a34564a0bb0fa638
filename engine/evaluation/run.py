"""Screen all files of an evaluation exactly as a scan would, and keep what the measures need."""

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

import numpy as np

from engine.aggregate import sigmoid, track_logit
from engine.container import MediaKind
from engine.evaluation.manifest import Item
from engine.evaluation.masks import MaskInvalid, MaskSeries, map_overlaps, read_masks
from engine.evaluation.measures import ItemResult, PeakFace
from engine.evidence import ShardEvidence
from engine.scan_result import ScanResult
from engine.score import ScoringParams, window_logits_by_track
from engine.screen import ScanSettings, ScanTools, scan_video

OnDone = Callable[[ItemResult], None]


def screen_items(
    items: Sequence[Item], tools: Sequence[ScanTools], settings: ScanSettings, on_done: OnDone
) -> tuple[ItemResult, ...]:
    """Screen the items, as many at a time as there are sets of tools; results in the order of the items.

    ``on_done`` is called from this thread after each.
    """
    free: queue.SimpleQueue[ScanTools] = queue.SimpleQueue()
    for each in tools:
        free.put(each)

    def work(item: Item) -> ItemResult:
        mine = free.get()
        try:
            return screen_item(item, mine, settings)
        finally:
            free.put(mine)

    with ThreadPoolExecutor(len(tools)) as pool:
        places = {pool.submit(work, item): place for place, item in enumerate(items)}
        results = _collect(places, on_done)
    return tuple(results[place] for place in range(len(items)))


def _collect(places: dict[Future[ItemResult], int], on_done: OnDone) -> dict[int, ItemResult]:
    results: dict[int, ItemResult] = {}
    open_ones = set(places)
    try:
        while open_ones:
            done, open_ones = wait(open_ones, return_when=FIRST_COMPLETED)
            for future in done:
                results[places[future]] = future.result()
                on_done(results[places[future]])
    finally:
        for future in open_ones:
            future.cancel()
    return results


def screen_item(item: Item, tools: ScanTools, settings: ScanSettings) -> ItemResult:
    """Screen one file. One that cannot be read gives a result without a score, as in a scan."""
    scan = scan_video(item.path, tools, settings)
    if item.mask is None:
        return judge_scan(item, scan, settings.scoring, None)
    try:
        masks = read_masks(item.mask, tools.sandbox, settings.limits)
        return judge_scan(item, scan, settings.scoring, masks)
    except MaskInvalid as error:
        return replace(judge_scan(item, scan, settings.scoring, None), mask_error=str(error))


def judge_scan(item: Item, scan: ScanResult, params: ScoringParams, masks: MaskSeries | None) -> ItemResult:
    """Keep of a scan what the measures and the report need."""
    wall_ms = float(scan.timings_ms.get("total", 0))
    kind = None if scan.probe is None else scan.probe.kind
    if scan.score is None or scan.evidence is None or scan.probe is None:
        assert scan.fault is not None
        return ItemResult(
            item,
            scan.outcome,
            kind=kind,
            reasons=(scan.fault.reason.value,),
            error=scan.fault.message,
            wall_ms=wall_ms,
        )
    has_score = scan.score.raw is not None
    windows = window_logits_by_track(scan.evidence, params) if kind is MediaKind.VIDEO and has_score else []
    overlaps = () if masks is None or not has_score else map_overlaps(scan.evidence, scan.probe, masks)
    return ItemResult(
        item=item,
        outcome=scan.outcome,
        kind=kind,
        raw=scan.score.raw,
        calibrated=scan.score.calibrated,
        interval=scan.score.interval,
        verdict=None if scan.verdict is None else scan.verdict.value,
        reasons=tuple(reason.value for reason in scan.score.reasons),
        frame_scores=highest_per_sample(scan.evidence) if has_score else (),
        track_logits=tuple(float(track_logit(each, params.aggregation)) for each in windows),
        window_gaps=tuple(gap for each in windows for gap in (each - each.mean()).tolist()),
        overlaps=overlaps,
        peak=find_peak(scan.evidence, scan.score.peak_track),
        wall_ms=wall_ms,
    )


def highest_per_sample(evidence: ShardEvidence) -> tuple[float, ...]:
    """Return the highest face score of every sample in which a face was scored, in order of time."""
    scored = evidence.is_scored
    times, place = np.unique(evidence.pts_us[scored], return_inverse=True)
    highest = np.full(len(times), -np.inf)
    np.maximum.at(highest, place, evidence.logit[scored].astype(np.float64))
    return tuple(sigmoid(highest).tolist())


def find_peak(evidence: ShardEvidence, track: int | None) -> PeakFace | None:
    """Return the highest scoring face of a track, None without a track."""
    if track is None:
        return None
    rows = np.flatnonzero(evidence.is_scored & (evidence.track == track))
    row = rows[int(evidence.logit[rows].argmax())]
    x, y, width, height = (float(value) for value in evidence.box[row])
    return PeakFace(
        pts_us=int(evidence.pts_us[row]),
        score=float(sigmoid(evidence.logit[row].astype(np.float64))),
        box=(x, y, width, height),
        patches=evidence.patches[row].copy(),
        to_frame=evidence.to_frame[row].copy(),
        crop_size=evidence.crop_size,
    )
