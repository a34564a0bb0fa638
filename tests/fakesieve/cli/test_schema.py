"""``fakesieve schema`` prints the schemas that the tests validate against."""

import json

from engine.output.schema import DRAFT, build_schema
from fakesieve.documents import extend_schema
from tests.commands import run_command


def test_the_schema_of_a_scan_is_printed_as_json(capfd) -> None:
    done = run_command(capfd, "schema")
    assert done.code == 0
    assert json.loads(done.out) == json.loads(json.dumps(build_schema()))
    assert json.loads(done.out)["$schema"] == DRAFT


def test_the_schema_of_a_job_s_result_has_the_job_beside_it(capfd) -> None:
    done = run_command(capfd, "schema", "--job")
    assert done.code == 0
    form = json.loads(done.out)
    assert form == json.loads(json.dumps(extend_schema(build_schema())))
    assert form["properties"]["job"]["properties"]["id"]["pattern"] == "^job_[0-9a-z]{26}$"
    assert "job" in form["required"]
