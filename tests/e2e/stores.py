"""Everything that a fleet of ``fakesieve up`` keeps, searched for words."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import redis
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from fakesieve.embedded.postgres import SUPERUSER
from fakesieve.embedded.run_folder import RunFolder

_TABLES = """
SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""


def search_fleet(folder: RunFolder, words: tuple[str, ...]) -> set[tuple[str, str]]:
    """Return in which part of which store one of the words stands: a table, an object, a key, a file.

    Bytes in the database are searched for what they say and not for how they are shown.
    """
    values = folder.read_environment()
    sought = [word.encode() for word in words]
    found: set[tuple[str, str]] = set()
    for store, parts in (
        ("database", _read_database(folder, values)),
        ("objects", _read_objects(values)),
        ("broker", _read_broker(values)),
        ("logs", _read_files(folder.path, "logs/*")),
        ("logs", _read_files(folder.path, "*/*.log")),  # of the servers
        ("scratch", _read_files(folder.path / "scratch", "**/*")),
    ):
        found |= {(store, name) for name, content in parts if any(word in content for word in sought)}
    return found


def _read_database(folder: RunFolder, values: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Give each row of each table as a dump has it, and the bytes of its columns as they are.

    The superuser asks, from whom no row of any tenant is kept.
    """
    passwords = json.loads((folder.path / "postgres" / "secrets.json").read_text(encoding="ascii"))
    url = make_url(values["FAKESIEVE_DATABASE_URL"]).set(
        drivername="postgresql+psycopg", username=SUPERUSER, password=passwords[SUPERUSER]
    )
    database = create_engine(url)
    with database.connect() as session:
        for table in session.scalars(text(_TABLES)).all():
            for row in session.execute(text(f"SELECT t.*, t::text FROM {table} t")):
                pieces = [bytes(cell) for cell in row if isinstance(cell, bytes | memoryview)]
                yield table, b"\n".join([str(row[-1]).encode(), *pieces])
    database.dispose()


def _read_objects(values: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Give the name and the bytes of each object of each bucket."""
    store = boto3.client(
        "s3",
        endpoint_url=values["FAKESIEVE_S3_ENDPOINT"],
        aws_access_key_id=values["FAKESIEVE_S3_ACCESS_KEY"],
        aws_secret_access_key=values["FAKESIEVE_S3_SECRET_KEY"],
        region_name="us-east-1",
    )
    for bucket in store.list_buckets()["Buckets"]:
        for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"]):
            for each in page.get("Contents", []):
                body = store.get_object(Bucket=bucket["Name"], Key=each["Key"])["Body"].read()
                yield each["Key"], each["Key"].encode() + b"\n" + body


def _read_broker(values: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Give the name and the value of each key of each numbered part."""
    url = values["FAKESIEVE_BROKER_URL"].rpartition("/")[0]
    for number in range(16):
        with redis.Redis.from_url(f"{url}/{number}") as broker:
            for key in broker.scan_iter():
                yield key.decode(), key + b"\n" + _read_key(broker, key)


def _read_key(broker: redis.Redis, key: bytes) -> bytes:
    read = {
        b"string": broker.get,
        b"list": lambda name: broker.lrange(name, 0, -1),
        b"set": broker.smembers,
        b"zset": lambda name: broker.zrange(name, 0, -1),
        b"hash": broker.hgetall,
        b"none": lambda _: b"",  # it has ended meanwhile
    }[broker.type(key)]
    return repr(read(key)).encode()


def _read_files(folder: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Give the name and the bytes of each file below a folder; one that goes meanwhile is passed over."""
    for path in sorted(folder.glob(pattern)):
        try:
            yield str(path.relative_to(folder)), path.name.encode() + b"\n" + path.read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            continue
