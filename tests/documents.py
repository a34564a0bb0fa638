"""Checks documents of a scan against the schema that is published for them."""

from jsonschema import Draft202012Validator

from engine.output.schema import build_schema

_VALIDATOR = Draft202012Validator(build_schema())


def check_document(document: dict) -> dict:
    """Return the document if it follows the schema. Fails with everything that does not."""
    assert [f"{fault.json_path}: {fault.message}" for fault in _VALIDATOR.iter_errors(document)] == []
    return document
