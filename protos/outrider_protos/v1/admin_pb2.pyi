from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AcknowledgeAlertRequest(_message.Message):
    __slots__ = ("alert_id", "actor", "comment")
    ALERT_ID_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    alert_id: int
    actor: str
    comment: str
    def __init__(self, alert_id: _Optional[int] = ..., actor: _Optional[str] = ..., comment: _Optional[str] = ...) -> None: ...

class AcknowledgeAlertResponse(_message.Message):
    __slots__ = ("changed", "actor")
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    actor: str
    def __init__(self, changed: bool = ..., actor: _Optional[str] = ...) -> None: ...

class AddSilenceRequest(_message.Message):
    __slots__ = ("filter", "starts_us", "ends_us", "actor", "comment", "schedule", "timezone", "quiet_hours")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    STARTS_US_FIELD_NUMBER: _ClassVar[int]
    ENDS_US_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    TIMEZONE_FIELD_NUMBER: _ClassVar[int]
    QUIET_HOURS_FIELD_NUMBER: _ClassVar[int]
    filter: str
    starts_us: int
    ends_us: int
    actor: str
    comment: str
    schedule: str
    timezone: str
    quiet_hours: bool
    def __init__(self, filter: _Optional[str] = ..., starts_us: _Optional[int] = ..., ends_us: _Optional[int] = ..., actor: _Optional[str] = ..., comment: _Optional[str] = ..., schedule: _Optional[str] = ..., timezone: _Optional[str] = ..., quiet_hours: bool = ...) -> None: ...

class AddSilenceResponse(_message.Message):
    __slots__ = ("silence_id", "alert_ids")
    SILENCE_ID_FIELD_NUMBER: _ClassVar[int]
    ALERT_IDS_FIELD_NUMBER: _ClassVar[int]
    silence_id: int
    alert_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, silence_id: _Optional[int] = ..., alert_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class EndSilenceRequest(_message.Message):
    __slots__ = ("silence_id", "actor")
    SILENCE_ID_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    silence_id: int
    actor: str
    def __init__(self, silence_id: _Optional[int] = ..., actor: _Optional[str] = ...) -> None: ...

class EndSilenceResponse(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    def __init__(self, changed: bool = ...) -> None: ...

class ApplyRulesRequest(_message.Message):
    __slots__ = ("files", "actor", "dry_run")
    FILES_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[RuleFile]
    actor: str
    dry_run: bool
    def __init__(self, files: _Optional[_Iterable[_Union[RuleFile, _Mapping]]] = ..., actor: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class RuleFile(_message.Message):
    __slots__ = ("name", "toml")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOML_FIELD_NUMBER: _ClassVar[int]
    name: str
    toml: str
    def __init__(self, name: _Optional[str] = ..., toml: _Optional[str] = ...) -> None: ...

class ApplyRulesResponse(_message.Message):
    __slots__ = ("version", "added", "changed", "removed")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    version: int
    added: _containers.RepeatedScalarFieldContainer[str]
    changed: _containers.RepeatedScalarFieldContainer[str]
    removed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[int] = ..., added: _Optional[_Iterable[str]] = ..., changed: _Optional[_Iterable[str]] = ..., removed: _Optional[_Iterable[str]] = ...) -> None: ...

class RetireWorkerRequest(_message.Message):
    __slots__ = ("name", "actor")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    actor: str
    def __init__(self, name: _Optional[str] = ..., actor: _Optional[str] = ...) -> None: ...

class RetireWorkerResponse(_message.Message):
    __slots__ = ("changed",)
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    changed: bool
    def __init__(self, changed: bool = ...) -> None: ...

class TestChannelRequest(_message.Message):
    __slots__ = ("channel", "actor")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    channel: str
    actor: str
    def __init__(self, channel: _Optional[str] = ..., actor: _Optional[str] = ...) -> None: ...

class TestChannelResponse(_message.Message):
    __slots__ = ("notification_id",)
    NOTIFICATION_ID_FIELD_NUMBER: _ClassVar[int]
    notification_id: int
    def __init__(self, notification_id: _Optional[int] = ...) -> None: ...
