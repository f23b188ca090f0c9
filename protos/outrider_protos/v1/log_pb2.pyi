from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Compression(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPRESSION_UNSPECIFIED: _ClassVar[Compression]
    COMPRESSION_NONE: _ClassVar[Compression]
    COMPRESSION_ZSTD: _ClassVar[Compression]
COMPRESSION_UNSPECIFIED: Compression
COMPRESSION_NONE: Compression
COMPRESSION_ZSTD: Compression

class Batch(_message.Message):
    __slots__ = ("stream_id", "begin", "end", "previous_digest", "digest", "record_count", "columns", "compression", "columns_bytes", "gaps", "watermark_us", "framer_state", "replayed", "final")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    RECORD_COUNT_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_BYTES_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_US_FIELD_NUMBER: _ClassVar[int]
    FRAMER_STATE_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    stream_id: int
    begin: int
    end: int
    previous_digest: bytes
    digest: bytes
    record_count: int
    columns: bytes
    compression: Compression
    columns_bytes: int
    gaps: _containers.RepeatedCompositeFieldContainer[Gap]
    watermark_us: int
    framer_state: bytes
    replayed: bool
    final: bool
    def __init__(self, stream_id: _Optional[int] = ..., begin: _Optional[int] = ..., end: _Optional[int] = ..., previous_digest: _Optional[bytes] = ..., digest: _Optional[bytes] = ..., record_count: _Optional[int] = ..., columns: _Optional[bytes] = ..., compression: _Optional[_Union[Compression, str]] = ..., columns_bytes: _Optional[int] = ..., gaps: _Optional[_Iterable[_Union[Gap, _Mapping]]] = ..., watermark_us: _Optional[int] = ..., framer_state: _Optional[bytes] = ..., replayed: bool = ..., final: bool = ...) -> None: ...

class Columns(_message.Message):
    __slots__ = ("ts_us", "observed_us", "stream_offset", "severity", "message", "attributes", "logger", "event", "error_code", "trace_id", "correlation_id")
    TS_US_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_US_FIELD_NUMBER: _ClassVar[int]
    STREAM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    LOGGER_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    ts_us: bytes
    observed_us: bytes
    stream_offset: bytes
    severity: bytes
    message: bytes
    attributes: bytes
    logger: Dictionary
    event: Dictionary
    error_code: Dictionary
    trace_id: bytes
    correlation_id: bytes
    def __init__(self, ts_us: _Optional[bytes] = ..., observed_us: _Optional[bytes] = ..., stream_offset: _Optional[bytes] = ..., severity: _Optional[bytes] = ..., message: _Optional[bytes] = ..., attributes: _Optional[bytes] = ..., logger: _Optional[_Union[Dictionary, _Mapping]] = ..., event: _Optional[_Union[Dictionary, _Mapping]] = ..., error_code: _Optional[_Union[Dictionary, _Mapping]] = ..., trace_id: _Optional[bytes] = ..., correlation_id: _Optional[bytes] = ...) -> None: ...

class Dictionary(_message.Message):
    __slots__ = ("values", "index")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    index: bytes
    def __init__(self, values: _Optional[_Iterable[str]] = ..., index: _Optional[bytes] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("begin", "end", "records", "at_least", "reason", "detail", "from_us", "to_us", "gap_id", "severity_max")
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    FROM_US_FIELD_NUMBER: _ClassVar[int]
    TO_US_FIELD_NUMBER: _ClassVar[int]
    GAP_ID_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_MAX_FIELD_NUMBER: _ClassVar[int]
    begin: int
    end: int
    records: int
    at_least: bool
    reason: str
    detail: str
    from_us: int
    to_us: int
    gap_id: bytes
    severity_max: int
    def __init__(self, begin: _Optional[int] = ..., end: _Optional[int] = ..., records: _Optional[int] = ..., at_least: bool = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., from_us: _Optional[int] = ..., to_us: _Optional[int] = ..., gap_id: _Optional[bytes] = ..., severity_max: _Optional[int] = ...) -> None: ...
