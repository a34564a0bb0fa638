"""What was found, for commands, out of the database."""

from engine.result_forms import JsonObject
from engine.results import TrackScore
from fakesieve.cli.fleet import Found
from fakesieve.cli.place import Place
from fakesieve.documents import unpack_maps
from fakesieve.records.analyses import AnalysisRecord, TrackMaps
from fakesieve.result_documents import Result, build_form, read_result
from fakesieve.reviews.items import find_dispositions
from fakesieve.values.findings import Face, FaceMap, FaceMaps, Finding
from fakesieve.values.reviews import Disposition


class DirectResults:
    """Results of the tenant that the environment names."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def load_document(self, name: str, *, with_patches: bool) -> JsonObject:
        """Return the document of a result, as ``fakesieve scan`` writes it, with the job in it."""
        return build_form(self._read(name), with_patches=with_patches)

    def load_result(self, name: str) -> Found:
        """Return a result as people read it."""
        with self._place.begin() as session:
            found = read_result(session, name)
            analysis_id = found.job.line.analysis_id
            if found.record is None or analysis_id is None:
                return Found(name, found.job.line, None)
            said = find_dispositions(session, [analysis_id]).get(analysis_id)
        return Found(name, found.job.line, _read_finding(found, found.record, said))

    def load_maps(self, found: Finding, ordinal: int, time_us: int | None) -> FaceMaps:
        """Return the patch maps of a face that has them: all, or that of the frame nearest to a time."""
        record = self._read(found.analysis_id).record
        assert record is not None  # an analysis is found by its own id
        maps = next(each for each in record.maps if each.ordinal == ordinal)
        return _read_maps(maps, time_us)

    def _read(self, name: str) -> Result:
        with self._place.begin() as session:
            return read_result(session, name)


def _read_finding(found: Result, record: AnalysisRecord, said: Disposition | None) -> Finding:
    line, score, verdict = found.job.line, record.score, record.verdict
    assert line.analysis_id is not None  # there is a record
    mapped = {maps.ordinal for maps in record.maps}
    return Finding(
        analysis_id=line.analysis_id,
        video=line.external_id or record.video_id,
        outcome=score.outcome,
        verdict=verdict.value,
        verdict_reasons=verdict.reasons,
        disposition=said,
        policy=f"{record.policy.name}@{record.policy.version}",
        score=verdict.score_used,
        interval=score.interval,
        coverage_ratio=score.coverage.ratio,
        reasons=score.reasons,
        missing=score.coverage.missing,
        faces=tuple(_read_face(track, has_maps=track.ordinal in mapped) for track in score.tracks),
        segments=score.segments,
        model=record.model.name,
        engine=record.model.engine,
        precision=record.model.precision,
    )


def _read_face(track: TrackScore, *, has_maps: bool) -> Face:
    return Face(
        ordinal=track.ordinal,
        start_us=track.start_us,
        end_us=track.end_us,
        outcome=track.outcome,
        score=track.score,
        frame_count=len(track.frames),
        scored_count=track.scored_count,
        peak_pts_us=track.peak_pts_us,
        regions=track.regions,
        has_maps=has_maps,
    )


def _read_maps(maps: TrackMaps, time_us: int | None) -> FaceMaps:
    found = [
        FaceMap(pts_us, cells, (matrix[:3], matrix[3:]))
        for pts_us, cells, matrix in zip(maps.pts_us, unpack_maps(maps), maps.to_frame, strict=True)
    ]
    if time_us is not None:
        found = [min(found, key=lambda each: abs(each.pts_us - time_us))]
    return FaceMaps(maps.ordinal, maps.grid, maps.crop_size, tuple(found))
