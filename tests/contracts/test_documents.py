"""The fleet's document of a result, made from rows, is that of a scan."""

import jsonschema
import pytest

from engine.output.document import build_document as build_scan_document
from engine.output.schema import build_schema
from engine.result_forms import SCHEMA_VERSION
from engine.score import ScoringParams, share_regions
from fakesieve.database import Database
from fakesieve.documents import VideoFacts, build_document
from fakesieve.records.analyses import AnalysisRecord, load_analysis, store_analysis
from fakesieve.records.models import ModelFacts
from fakesieve.records.videos import upsert_video
from tests.engine.output.made_results import make_result
from tests.factories import make_tenant
from workers.plan_json import probe_to_json
from workers.scoring import pack_maps


@pytest.mark.parametrize("with_patches", [False, True])
def test_rows_give_the_document_of_the_scan(database: Database, with_patches: bool) -> None:
    result = make_result()
    assert result.probe is not None
    assert result.evidence is not None
    assert result.score is not None
    assert result.verdict is not None
    media = probe_to_json(result.probe)
    tenant_id = make_tenant(database)
    sha256, size_bytes = result.source.sha256, result.source.size_bytes
    assert sha256 is not None
    with database.transaction(tenant_id=tenant_id) as session:
        video_id = upsert_video(
            session, tenant_id=tenant_id, sha256=sha256, size_bytes=size_bytes or 1, media=media
        )
        record = AnalysisRecord(
            tenant_id=tenant_id,
            video_id=video_id,
            fingerprint=result.fingerprint,
            model=ModelFacts(
                result.model.name, result.model.weights_sha256, result.model.engine, result.model.precision
            ),
            score=result.score,
            policy=result.policy,
            verdict=result.verdict,
            maps=pack_maps(result.evidence, result.score, share_regions(result.evidence, ScoringParams())),
            warnings=tuple(dict.fromkeys((*result.probe.warnings, *result.evidence.warnings))),
            timings_ms=result.timings_ms,
        )
        analysis_id, _ = store_analysis(session, record)
    with database.transaction(tenant_id=tenant_id) as session:
        loaded = load_analysis(session, analysis_id)
    assert loaded is not None
    facts = VideoFacts(str(result.path), sha256, size_bytes, media)
    document = build_document(facts, loaded, None, with_patches=with_patches)
    expected = build_scan_document(result, with_patches=with_patches)
    assert {name: value for name, value in document.items() if name != "job"} == expected
    assert document["schema_version"] == SCHEMA_VERSION == expected["schema_version"]
    jsonschema.validate(expected, build_schema())
