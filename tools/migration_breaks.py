"""What a revision takes from the release before, whose processes still run while the new ones start.

Told by the catalogue before and after it, so that the words of the step do not matter. What is found is not
always wrong: a column may be dropped that no release reads any more. Such a revision says so, and why, in
``SAFE_BESIDE_PREVIOUS``, by the words of the break.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

_SCHEMA = "'public'::regnamespace"
_TABLES = f"relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = {_SCHEMA}"
_COLUMNS = f"""
SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull,
    attnotnull AND NOT atthasdef AND attidentity = ''
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE {_TABLES} AND attnum > 0 AND NOT attisdropped
"""
# Rules on rows: what they say, and of which columns.
_RULES = f"""
SELECT relname, conname, pg_get_constraintdef(pg_constraint.oid), (
    SELECT coalesce(array_agg(attname::text), '{{}}') FROM pg_attribute
    WHERE attrelid = conrelid AND attnum = ANY (conkey))
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE {_TABLES} AND contype IN ('c', 'f', 'u', 'p', 'x')
UNION ALL
SELECT relname, indexrelid::regclass::text, pg_get_indexdef(indexrelid), (
    SELECT coalesce(array_agg(attname::text), '{{}}') FROM pg_attribute
    WHERE attrelid = indrelid AND attnum = ANY (indkey))
FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
WHERE {_TABLES} AND indisunique AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""
_FUNCTIONS = f"""
SELECT proname || '(' || pg_get_function_identity_arguments(oid) || ')', pg_get_function_result(oid)
FROM pg_proc WHERE pronamespace = {_SCHEMA} AND prorettype <> 'trigger'::regtype
"""
_RIGHTS = f"""
SELECT relname, (acl).grantee::regrole::text, (acl).privilege_type
FROM (SELECT relname, aclexplode(relacl) AS acl FROM pg_class WHERE {_TABLES}) AS granted
UNION ALL
SELECT proname || '()', CASE (acl).grantee WHEN 0 THEN 'PUBLIC' ELSE (acl).grantee::regrole::text END,
    (acl).privilege_type
FROM (SELECT proname, aclexplode(proacl) AS acl FROM pg_proc WHERE pronamespace = {_SCHEMA}) AS granted
"""
# Which rows a role sees and may write: what each policy says, and whether the table's owner heeds them, too.
_POLICIES = f"""
SELECT tablename, policyname, concat_ws(' ', permissive, roles, cmd, qual, with_check)
FROM pg_policies WHERE schemaname = 'public'
UNION ALL
SELECT relname, 'row security', concat_ws(' ', relrowsecurity, relforcerowsecurity)
FROM pg_class WHERE {_TABLES}
"""
_LITERAL = re.compile(r"'((?:[^']|'')*)'(?:::[a-z ]+)?(?:, )?")


@dataclass(frozen=True)
class Column:
    """Type of a column, whether it may be null, and whether whoever inserts a row must name it."""

    type: str
    is_required: bool
    must_be_named: bool


@dataclass(frozen=True)
class Rule:
    """A constraint or a unique index, in the server's words, and the columns that it is about."""

    says: str
    columns: frozenset[str]


@dataclass(frozen=True)
class Catalogue:
    """What a release relies on, each under the name of its table and its own."""

    columns: Mapping[tuple[str, str], Column]
    rules: Mapping[tuple[str, str], Rule]
    functions: Mapping[str, str] = field(default_factory=dict[str, str])  # result by name and arguments
    rights: frozenset[tuple[str, str, str]] = frozenset()  # object, role, right
    policies: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    @property
    def tables(self) -> frozenset[str]:
        """Names of all tables."""
        return frozenset(table for table, _ in self.columns)


def read_catalogue(connection: Connection) -> Catalogue:
    """Read it of the database at hand, without partitions, which come and go."""
    columns = {
        (table, name): Column(kind, required, named)
        for table, name, kind, required, named in connection.execute(text(_COLUMNS))
    }
    rules = {
        (table, name): Rule(says, frozenset(about))
        for table, name, says, about in connection.execute(text(_RULES))
    }
    functions = {str(name): str(result) for name, result in connection.execute(text(_FUNCTIONS))}
    rights = frozenset((of, role, right) for of, role, right in connection.execute(text(_RIGHTS)))
    policies = {(table, name): str(says) for table, name, says in connection.execute(text(_POLICIES))}
    return Catalogue(columns, rules, functions, rights, policies)


def find_breaks(before: Catalogue, after: Catalogue) -> list[str]:
    """Say what the release that knows ``before`` could no longer do, each in words of its own, in order."""
    kept = before.tables & after.tables
    found = [f"table {name} is dropped or renamed" for name in before.tables - after.tables]
    found += _compare_columns(before, after, kept)
    found += _compare_rules(before, after, kept)
    for name, result in before.functions.items():
        if after.functions.get(name) != result:
            found.append(f"function {name} is dropped or gives something else")
    # What went with its table or function is told above.
    there = kept | {_name_function(name) for name in after.functions}
    found += [
        f"{role} may no longer {right} {of}"
        for of, role, right in before.rights - after.rights
        if of in there
    ]
    found += [
        f"policy {name!r} of {table} is not what it was: other rows may be seen or written"
        for table, name in before.policies.keys() | after.policies.keys()
        if table in kept and before.policies.get((table, name)) != after.policies.get((table, name))
    ]
    return sorted(found)


def _name_function(signature: str) -> str:
    """Return the name under which its rights are told."""
    return signature.split("(", maxsplit=1)[0] + "()"


def _compare_columns(before: Catalogue, after: Catalogue, kept: frozenset[str]) -> list[str]:
    found: list[str] = []
    for (table, name), column in after.columns.items():
        was = before.columns.get((table, name))
        if table not in kept:
            continue
        if was is None:
            if column.must_be_named:
                found.append(f"column {table}.{name} is new and required, and has no default")
        elif column.is_required and not was.is_required:
            found.append(f"column {table}.{name} may no longer be null")
        elif column.must_be_named and not was.must_be_named:
            found.append(f"column {table}.{name} has lost its default")
        elif column.type != was.type:
            found.append(f"column {table}.{name} is {column.type}, was {was.type}")
    gone = before.columns.keys() - after.columns
    return found + [f"column {table}.{name} is dropped or renamed" for table, name in gone if table in kept]


def _compare_rules(before: Catalogue, after: Catalogue, kept: frozenset[str]) -> list[str]:
    found: list[str] = []
    for (table, name), rule in after.rules.items():
        was = before.rules.get((table, name))
        known = {column for of, column in before.columns if of == table}
        if table in kept and was is None and rule.columns & known:
            found.append(f"rule {name} of {table} is new: rows of the release before may break it")
        if table in kept and was is not None and not _allows_all_of(rule, was):
            found.append(f"rule {name} of {table} has changed: {rule.says}")
    for (table, name), rule in before.rules.items():
        # An insert that passes over rows that are there names the columns of a unique rule.
        is_unique = rule.says.startswith(("UNIQUE", "PRIMARY KEY", "CREATE UNIQUE"))
        if table in kept and is_unique and (table, name) not in after.rules:
            found.append(f"rule {name} of {table} is dropped: ON CONFLICT may ask for it")
    return found


def _allows_all_of(rule: Rule, was: Rule) -> bool:
    """Whether a rule is the same, or the same list of values with more of them."""
    values, values_before = set(_LITERAL.findall(rule.says)), set(_LITERAL.findall(was.says))
    is_list = rule.says.startswith("CHECK") and "<> ALL" not in rule.says  # that names what may not be
    return _LITERAL.sub("", rule.says) == _LITERAL.sub("", was.says) and (
        rule.says == was.says or (is_list and values_before < values)
    )


def judge_breaks(breaks: Sequence[str], safe: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a revision that breaks this, and says of what in it why it is safe."""
    unsaid = [each for each in breaks if each not in safe]
    return [
        *unsaid,
        *(f"SAFE_BESIDE_PREVIOUS has no reason for: {each}" for each in safe if not safe[each].strip()),
        *(f"SAFE_BESIDE_PREVIOUS names what does not happen: {each}" for each in safe if each not in breaks),
    ]
