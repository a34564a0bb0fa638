"""``fakesieve schema`` prints the schema that the tests validate against."""

import json

from engine.output.schema import DRAFT, build_schema


def test_the_schema_is_printed_as_json(run) -> None:
    done = run("schema")
    assert done.code == 0
    assert json.loads(done.out) == json.loads(json.dumps(build_schema()))
    assert json.loads(done.out)["$schema"] == DRAFT
