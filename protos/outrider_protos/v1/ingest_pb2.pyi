from outrider_protos.v1 import log_pb2 as _log_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WorkerEnd(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKER_END_UNSPECIFIED: _ClassVar[WorkerEnd]
    WORKER_END_RUNNING: _ClassVar[WorkerEnd]
    WORKER_END_CLEAN: _ClassVar[WorkerEnd]
    WORKER_END_EXIT_CODE: _ClassVar[WorkerEnd]
    WORKER_END_SIGNAL: _ClassVar[WorkerEnd]
    WORKER_END_DIED: _ClassVar[WorkerEnd]
    WORKER_END_OUT_OF_MEMORY: _ClassVar[WorkerEnd]
    WORKER_END_NEVER_STARTED: _ClassVar[WorkerEnd]
WORKER_END_UNSPECIFIED: WorkerEnd
WORKER_END_RUNNING: WorkerEnd
WORKER_END_CLEAN: WorkerEnd
WORKER_END_EXIT_CODE: WorkerEnd
WORKER_END_SIGNAL: WorkerEnd
WORKER_END_DIED: WorkerEnd
WORKER_END_OUT_OF_MEMORY: WorkerEnd
WORKER_END_NEVER_STARTED: WorkerEnd

class EnrollRequest(_message.Message):
    __slots__ = ("host",)
    HOST_FIELD_NUMBER: _ClassVar[int]
    host: str
    def __init__(self, host: _Optional[str] = ...) -> None: ...

class EnrollResponse(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class PushRequest(_message.Message):
    __slots__ = ("hello", "open_streams", "batch", "more_batches")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    OPEN_STREAMS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    MORE_BATCHES_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    open_streams: OpenStreams
    batch: _log_pb2.Batch
    more_batches: _containers.RepeatedCompositeFieldContainer[_log_pb2.Batch]
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., open_streams: _Optional[_Union[OpenStreams, _Mapping]] = ..., batch: _Optional[_Union[_log_pb2.Batch, _Mapping]] = ..., more_batches: _Optional[_Iterable[_Union[_log_pb2.Batch, _Mapping]]] = ...) -> None: ...

class PushResponse(_message.Message):
    __slots__ = ("welcome", "streams_opened", "ack", "rewind", "credit", "settings", "goodbye")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    STREAMS_OPENED_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    REWIND_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    streams_opened: StreamsOpened
    ack: Ack
    rewind: Rewind
    credit: Credit
    settings: Settings
    goodbye: Goodbye
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., streams_opened: _Optional[_Union[StreamsOpened, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., rewind: _Optional[_Union[Rewind, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ..., settings: _Optional[_Union[Settings, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("min_version", "max_version", "software_version", "instance", "host", "last_acknowledged")
    MIN_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_VERSION_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_VERSION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    LAST_ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    min_version: int
    max_version: int
    software_version: str
    instance: bytes
    host: str
    last_acknowledged: FeedPosition
    def __init__(self, min_version: _Optional[int] = ..., max_version: _Optional[int] = ..., software_version: _Optional[str] = ..., instance: _Optional[bytes] = ..., host: _Optional[str] = ..., last_acknowledged: _Optional[_Union[FeedPosition, _Mapping]] = ...) -> None: ...

class FeedPosition(_message.Message):
    __slots__ = ("number", "nonce")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    number: int
    nonce: bytes
    def __init__(self, number: _Optional[int] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("version", "clock_us", "streams", "settings", "credit_bytes", "store_regressed")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CLOCK_US_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    CREDIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    STORE_REGRESSED_FIELD_NUMBER: _ClassVar[int]
    version: int
    clock_us: int
    streams: _containers.RepeatedCompositeFieldContainer[StreamState]
    settings: Settings
    credit_bytes: int
    store_regressed: bool
    def __init__(self, version: _Optional[int] = ..., clock_us: _Optional[int] = ..., streams: _Optional[_Iterable[_Union[StreamState, _Mapping]]] = ..., settings: _Optional[_Union[Settings, _Mapping]] = ..., credit_bytes: _Optional[int] = ..., store_regressed: bool = ...) -> None: ...

class StreamState(_message.Message):
    __slots__ = ("stream", "committed", "digest", "framer_state")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    FRAMER_STATE_FIELD_NUMBER: _ClassVar[int]
    stream: Stream
    committed: int
    digest: bytes
    framer_state: bytes
    def __init__(self, stream: _Optional[_Union[Stream, _Mapping]] = ..., committed: _Optional[int] = ..., digest: _Optional[bytes] = ..., framer_state: _Optional[bytes] = ...) -> None: ...

class Stream(_message.Message):
    __slots__ = ("stream_id", "service", "worker", "source", "path", "uid", "start_offset", "device", "inode", "head_digest", "head_bytes", "host")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    INODE_FIELD_NUMBER: _ClassVar[int]
    HEAD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    HEAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    stream_id: int
    service: str
    worker: str
    source: str
    path: str
    uid: int
    start_offset: int
    device: int
    inode: int
    head_digest: bytes
    head_bytes: int
    host: str
    def __init__(self, stream_id: _Optional[int] = ..., service: _Optional[str] = ..., worker: _Optional[str] = ..., source: _Optional[str] = ..., path: _Optional[str] = ..., uid: _Optional[int] = ..., start_offset: _Optional[int] = ..., device: _Optional[int] = ..., inode: _Optional[int] = ..., head_digest: _Optional[bytes] = ..., head_bytes: _Optional[int] = ..., host: _Optional[str] = ...) -> None: ...

class OpenStreams(_message.Message):
    __slots__ = ("streams",)
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedCompositeFieldContainer[Stream]
    def __init__(self, streams: _Optional[_Iterable[_Union[Stream, _Mapping]]] = ...) -> None: ...

class StreamsOpened(_message.Message):
    __slots__ = ("streams", "refused")
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedCompositeFieldContainer[StreamState]
    refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    def __init__(self, streams: _Optional[_Iterable[_Union[StreamState, _Mapping]]] = ..., refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("stream_id", "reason", "detail")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    stream_id: int
    reason: str
    detail: str
    def __init__(self, stream_id: _Optional[int] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("streams", "feed", "credit_bytes")
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    FEED_FIELD_NUMBER: _ClassVar[int]
    CREDIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedCompositeFieldContainer[Committed]
    feed: FeedPosition
    credit_bytes: int
    def __init__(self, streams: _Optional[_Iterable[_Union[Committed, _Mapping]]] = ..., feed: _Optional[_Union[FeedPosition, _Mapping]] = ..., credit_bytes: _Optional[int] = ...) -> None: ...

class Committed(_message.Message):
    __slots__ = ("stream_id", "committed")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    stream_id: int
    committed: int
    def __init__(self, stream_id: _Optional[int] = ..., committed: _Optional[int] = ...) -> None: ...

class Rewind(_message.Message):
    __slots__ = ("stream_id", "committed", "digest", "framer_state")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    FRAMER_STATE_FIELD_NUMBER: _ClassVar[int]
    stream_id: int
    committed: int
    digest: bytes
    framer_state: bytes
    def __init__(self, stream_id: _Optional[int] = ..., committed: _Optional[int] = ..., digest: _Optional[bytes] = ..., framer_state: _Optional[bytes] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("credit_bytes",)
    CREDIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    credit_bytes: int
    def __init__(self, credit_bytes: _Optional[int] = ...) -> None: ...

class Settings(_message.Message):
    __slots__ = ("flush_interval_ms", "urgent_flush_interval_ms", "urgent_severity", "urgent_filters", "heartbeat_interval_ms", "compression", "batches_in_message", "vital_credit_bytes")
    FLUSH_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    URGENT_FLUSH_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    URGENT_SEVERITY_FIELD_NUMBER: _ClassVar[int]
    URGENT_FILTERS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    BATCHES_IN_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VITAL_CREDIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    flush_interval_ms: int
    urgent_flush_interval_ms: int
    urgent_severity: int
    urgent_filters: _containers.RepeatedScalarFieldContainer[str]
    heartbeat_interval_ms: int
    compression: _log_pb2.Compression
    batches_in_message: int
    vital_credit_bytes: int
    def __init__(self, flush_interval_ms: _Optional[int] = ..., urgent_flush_interval_ms: _Optional[int] = ..., urgent_severity: _Optional[int] = ..., urgent_filters: _Optional[_Iterable[str]] = ..., heartbeat_interval_ms: _Optional[int] = ..., compression: _Optional[_Union[_log_pb2.Compression, str]] = ..., batches_in_message: _Optional[int] = ..., vital_credit_bytes: _Optional[int] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason", "detail", "retry_after_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    detail: str
    retry_after_ms: int
    def __init__(self, reason: _Optional[str] = ..., detail: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("number", "clock_us", "next_within_ms", "usage", "backlog_bytes", "backlog_age_ms", "stream_count", "workers", "stopping", "components", "all_components")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CLOCK_US_FIELD_NUMBER: _ClassVar[int]
    NEXT_WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    STREAM_COUNT_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    STOPPING_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    ALL_COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    number: int
    clock_us: int
    next_within_ms: int
    usage: Usage
    backlog_bytes: int
    backlog_age_ms: int
    stream_count: int
    workers: _containers.RepeatedCompositeFieldContainer[WorkerHeartbeat]
    stopping: bool
    components: _containers.RepeatedCompositeFieldContainer[ComponentReport]
    all_components: bool
    def __init__(self, number: _Optional[int] = ..., clock_us: _Optional[int] = ..., next_within_ms: _Optional[int] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., backlog_bytes: _Optional[int] = ..., backlog_age_ms: _Optional[int] = ..., stream_count: _Optional[int] = ..., workers: _Optional[_Iterable[_Union[WorkerHeartbeat, _Mapping]]] = ..., stopping: bool = ..., components: _Optional[_Iterable[_Union[ComponentReport, _Mapping]]] = ..., all_components: bool = ...) -> None: ...

class ComponentReport(_message.Message):
    __slots__ = ("kind", "name", "state", "reason", "checked_us", "took_us", "next_within_ms", "facts")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CHECKED_US_FIELD_NUMBER: _ClassVar[int]
    TOOK_US_FIELD_NUMBER: _ClassVar[int]
    NEXT_WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    state: str
    reason: str
    checked_us: int
    took_us: int
    next_within_ms: int
    facts: _containers.RepeatedCompositeFieldContainer[Fact]
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., checked_us: _Optional[int] = ..., took_us: _Optional[int] = ..., next_within_ms: _Optional[int] = ..., facts: _Optional[_Iterable[_Union[Fact, _Mapping]]] = ...) -> None: ...

class Fact(_message.Message):
    __slots__ = ("name", "text", "number")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    name: str
    text: str
    number: float
    def __init__(self, name: _Optional[str] = ..., text: _Optional[str] = ..., number: _Optional[float] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("cpu_ms", "rss_bytes", "rss_limit_bytes", "open_files", "threads", "is_stopped")
    CPU_MS_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    RSS_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    OPEN_FILES_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    IS_STOPPED_FIELD_NUMBER: _ClassVar[int]
    cpu_ms: int
    rss_bytes: int
    rss_limit_bytes: int
    open_files: int
    threads: int
    is_stopped: bool
    def __init__(self, cpu_ms: _Optional[int] = ..., rss_bytes: _Optional[int] = ..., rss_limit_bytes: _Optional[int] = ..., open_files: _Optional[int] = ..., threads: _Optional[int] = ..., is_stopped: bool = ...) -> None: ...

class WorkerHeartbeat(_message.Message):
    __slots__ = ("service", "worker", "pid", "end", "end_code", "ended_us", "started_us", "usage", "progress_done", "progress_total", "progress_us", "progress_note", "backlog_bytes", "dropped_records", "last_line_us", "progress_age_ms", "progress_within_ms", "last_line_age_ms")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    END_CODE_FIELD_NUMBER: _ClassVar[int]
    ENDED_US_FIELD_NUMBER: _ClassVar[int]
    STARTED_US_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_DONE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_US_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_NOTE_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_BYTES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_RECORDS_FIELD_NUMBER: _ClassVar[int]
    LAST_LINE_US_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
    LAST_LINE_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    service: str
    worker: str
    pid: int
    end: WorkerEnd
    end_code: int
    ended_us: int
    started_us: int
    usage: Usage
    progress_done: int
    progress_total: int
    progress_us: int
    progress_note: str
    backlog_bytes: int
    dropped_records: int
    last_line_us: int
    progress_age_ms: int
    progress_within_ms: int
    last_line_age_ms: int
    def __init__(self, service: _Optional[str] = ..., worker: _Optional[str] = ..., pid: _Optional[int] = ..., end: _Optional[_Union[WorkerEnd, str]] = ..., end_code: _Optional[int] = ..., ended_us: _Optional[int] = ..., started_us: _Optional[int] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., progress_done: _Optional[int] = ..., progress_total: _Optional[int] = ..., progress_us: _Optional[int] = ..., progress_note: _Optional[str] = ..., backlog_bytes: _Optional[int] = ..., dropped_records: _Optional[int] = ..., last_line_us: _Optional[int] = ..., progress_age_ms: _Optional[int] = ..., progress_within_ms: _Optional[int] = ..., last_line_age_ms: _Optional[int] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ("number", "clock_us", "audit_seal", "audit_root")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    CLOCK_US_FIELD_NUMBER: _ClassVar[int]
    AUDIT_SEAL_FIELD_NUMBER: _ClassVar[int]
    AUDIT_ROOT_FIELD_NUMBER: _ClassVar[int]
    number: int
    clock_us: int
    audit_seal: int
    audit_root: bytes
    def __init__(self, number: _Optional[int] = ..., clock_us: _Optional[int] = ..., audit_seal: _Optional[int] = ..., audit_root: _Optional[bytes] = ...) -> None: ...
