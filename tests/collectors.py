"""A collector of traces: what a program sends over OTLP and HTTP, read as any other collector reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.receivers import Receiver, receiving

PATH = "/v1/traces"


@dataclass(frozen=True)
class SeenSpan:
    """A span as it came over the wire. Times are nanoseconds since 1970; a root has the parent 0."""

    service: str
    name: str
    trace_id: int
    span_id: int
    parent_id: int
    start_ns: int
    end_ns: int
    attributes: dict[str, str | int | float]


@dataclass(frozen=True)
class Collector:
    """Where spans are sent, and what came."""

    receiver: Receiver

    @property
    def endpoint(self) -> str:
        """The address that FAKESIEVE_OTLP_ENDPOINT takes."""
        return self.receiver.url.removesuffix("/hook") + PATH

    def spans(self, trace_id: int) -> list[SeenSpan]:
        """The spans of a trace, in the order of their starts."""
        return sorted(
            (span for span in self._read_all() if span.trace_id == trace_id), key=lambda span: span.start_ns
        )

    def _read_all(self) -> Iterator[SeenSpan]:
        for message in tuple(self.receiver.messages):
            kinds = [value for name, value in message.headers.items() if name.lower() == "content-type"]
            assert (message.path, kinds) == (PATH, ["application/x-protobuf"])
            for resource in ExportTraceServiceRequest.FromString(message.body).resource_spans:
                service = next(
                    each.value.string_value
                    for each in resource.resource.attributes
                    if each.key == "service.name"
                )
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        yield SeenSpan(
                            service,
                            span.name,
                            int.from_bytes(span.trace_id, "big"),
                            int.from_bytes(span.span_id, "big"),
                            int.from_bytes(span.parent_span_id, "big"),
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                            {
                                each.key: getattr(each.value, each.value.WhichOneof("value"))
                                for each in span.attributes
                            },
                        )


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a port of this machine for the block."""
    with receiving() as receiver:
        receiver.statuses = [200]
        yield Collector(receiver)
