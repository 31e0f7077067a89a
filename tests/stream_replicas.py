"""The replicas of a stream, as JetStream describes them."""

import msgspec


class Replica(msgspec.Struct):
    name: str
    current: bool = False
    offline: bool = False


class Group(msgspec.Struct):
    leader: str = ""
    replicas: list[Replica] = []


class _Info(msgspec.Struct):
    cluster: Group = msgspec.field(default_factory=Group)


STREAM_INFO = msgspec.json.Decoder(_Info)
