"""An inbox whose requests are all answered alike."""

from streams.jetstream.raw_message import Delivered


class Inbox:
    """Gives the same answer to each request."""

    def __init__(self, *answers: Delivered) -> None:
        self._answers = answers

    async def request(self, *_: object, **__: object) -> Delivered:
        return self._answers[0]

    async def request_many(self, *_: object, **__: object) -> list[Delivered]:
        return list(self._answers)
