"""The contents of a copy of a user's data: which files it has. Each list is written in files of bounded size."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence, Set
from datetime import datetime

import msgspec

from contracts.values.field_types import LanguageCode
from contracts.values.timestamps import rfc3339
from services.auth.data_export.archive import Archive
from services.auth.data_export.clients import Item, OwnData, Pages
from services.auth.data_export.pages import PEOPLE, Link, PageRenderer

# A list goes on in another file after so many items, or bytes of JSON; a page of a list is never split.
_MOST_ITEMS, _MOST_BYTES = 1_000, 1024 * 1024
# Readings of the list of conversations, at most.
_MOST_PASSES = 3
# Format of the files, in `contents.json`; raised when a program that reads them has to change.
_FORMAT = 1

Body = Callable[[Sequence[Item], Mapping[str, str]], Iterable[str]]


class WrittenList(msgspec.Struct, frozen=True, kw_only=True):
    """A list, as `contents.json` names it."""

    name: str
    # JSON files in the order of the list, each an array.
    files: list[str]
    items: int


class _Contents(msgspec.Struct, frozen=True, kw_only=True):
    """`contents.json`, the last JSON file."""

    format: int
    export_id: str
    user_id: str
    made_at: str
    lists: list[WrittenList]


class _Rendering(msgspec.Struct, frozen=True):
    """How the pages of a list are rendered."""

    title: str
    body: Body
    # Of the people in it; None: looked up.
    names: Mapping[str, str] | None


class Contents:
    """Writes the files of one copy."""

    def __init__(self, archive: Archive, data: OwnData, language: LanguageCode) -> None:
        self._archive = archive
        self._data = data
        self._renderer = PageRenderer(language)
        self._lists: list[WrittenList] = []

    async def write(
        self, export_id: str, account: Item, profile: Item, failed_logins: list[Item], made_at: datetime
    ) -> None:
        """Writes everything.

        Raises:
            TooLarge: the file has reached its greatest size.
            VestnikError: a service or the store refuses, or does not answer.
        """
        data = self._data
        await self._write_json("account.json", account)
        await self._write_json("profile.json", profile)
        await self._write_list("sessions", data.sessions())
        await self._write_list("failed_logins", _one_page(failed_logins))
        friends: set[str] = set()
        await self._write_list("friends", _noting_friends(data.friends(), friends))
        await self._write_list("blocks", data.blocks())
        await self._write_list("reports", data.reports())
        await self._write_list("notifications", data.notifications())
        await self._write_conversations(account["user_id"], friends)
        await self._write_list("closed_conversations", data.closed_messages())
        contents = _Contents(
            format=_FORMAT,
            export_id=export_id,
            user_id=account["user_id"],
            made_at=rfc3339(made_at),
            lists=self._lists,
        )
        await self._write_json("contents.json", contents)
        await self._write_index(account, profile, made_at)

    async def _write_conversations(self, user_id: str, friends: Set[str]) -> None:
        """Writes the list of conversations, then the messages of each."""
        people: dict[str, None] = {}
        await self._write_list("conversations", self._listed_once(people, friends), self._conversations)
        own_name = await self._data.name_of(user_id)
        for peer_id in people:
            names = {user_id: own_name, peer_id: await self._data.name_of(peer_id)}
            title = self._renderer.texts.messages_with.format(name=names[peer_id])
            messages = self._data.messages(peer_id)
            await self._write_list(_messages(peer_id), messages, self._renderer.messages, title, names)

    async def _listed_once(self, people: dict[str, None], friends: Set[str]) -> Pages:
        """The conversations, each once; notes the other `people`.

        The list is in the order of activity, so one that becomes active between two pages may be on neither: the list
        is read again while a friend's is missing.
        """
        for _ in range(_MOST_PASSES):
            async for page in self._data.conversations():
                fresh = {item["user_id"]: item for item in page if item["user_id"] not in people}
                people |= dict.fromkeys(fresh)
                yield list(fresh.values())
            if friends <= people.keys():
                return

    def _conversations(self, items: Sequence[Item], names: Mapping[str, str]) -> Iterable[str]:
        label = self._renderer.texts.members["messages"]
        shown = [{**item, "messages": Link(label, f"{_messages(item['user_id'])}.html")} for item in items]
        return self._renderer.items(shown, names)

    async def _write_list(
        self,
        name: str,
        pages: Pages,
        body: Body | None = None,
        title: str = "",
        names: Mapping[str, str] | None = None,
    ) -> None:
        """Writes a list as JSON and as HTML, in as many files as it needs; the first has no number.

        `body`: renders the items of one file, by default as a table. `names`: of the people in it, if they are known.
        """
        rendering = _Rendering(title or self._renderer.texts.titles[name], body or self._renderer.items, names)
        items: list[Item] = []
        encoded: list[bytes] = []
        files: list[str] = []
        size = count = 0
        async for page in pages:
            if len(items) >= _MOST_ITEMS or size >= _MOST_BYTES:
                files.append(await self._write_part(name, len(files), items, encoded, rendering, is_last=False))
                items, encoded, size = [], [], 0
            items += page
            added = [msgspec.json.encode(item) for item in page]
            encoded += added
            size += sum(map(len, added))
            count += len(page)
        files.append(await self._write_part(name, len(files), items, encoded, rendering, is_last=True))
        self._lists.append(WrittenList(name=name, files=files, items=count))

    async def _write_part(
        self,
        name: str,
        number: int,
        items: Sequence[Item],
        encoded: Sequence[bytes],
        rendering: _Rendering,
        *,
        is_last: bool,
    ) -> str:
        names = await self._names_in(items) if rendering.names is None else rendering.names
        links = [Link(self._renderer.texts.overview, f"{'../' * name.count('/')}index.html")]
        links += [Link(self._renderer.texts.previous, _beside(name, number - 1))] if number else []
        links += [] if is_last else [Link(self._renderer.texts.following, _beside(name, number + 1))]

        def page() -> bytes:
            return self._renderer.page(rendering.title, rendering.body(items, names), links)

        file = f"{_numbered(name, number)}.json"
        await self._archive.add(file, b"[" + b",\n".join(encoded) + b"]\n")
        await self._archive.add(f"{_numbered(name, number)}.html", await asyncio.to_thread(page))
        return file

    async def _names_in(self, items: Sequence[Item]) -> Mapping[str, str]:
        ids = {item[member] for item in items for member in PEOPLE if item.get(member)}
        return {user_id: await self._data.name_of(user_id) for user_id in sorted(ids)}

    async def _write_index(self, account: Item, profile: Item, made_at: datetime) -> None:
        texts, renderer = self._renderer.texts, self._renderer
        body = [f"<p>{texts.introduction.format(made_at=f'{made_at:%Y-%m-%d %H:%M} UTC')}</p>"]
        for name, item in (("account", account), ("profile", profile)):
            body += [f"<h2>{texts.titles[name]}</h2>", *renderer.members(item)]
        listed = [written for written in self._lists if written.name in texts.titles]
        body.append("<ul>")
        body += [f'<li><a href="{one.name}.html">{texts.titles[one.name]}</a>: {one.items}</li>' for one in listed]
        body.append("</ul>")
        await self._archive.add("index.html", renderer.page(texts.title, body))

    async def _write_json(self, name: str, value: object) -> None:
        await self._archive.add(name, msgspec.json.format(msgspec.json.encode(value)) + b"\n")


async def _one_page(items: list[Item]) -> AsyncIterator[list[Item]]:
    yield items


async def _noting_friends(pages: Pages, friends: set[str]) -> AsyncIterator[list[Item]]:
    """The same pages; notes the ids of friends."""
    async for page in pages:
        friends |= {item["user_id"] for item in page if item["state"] == "accepted"}
        yield page


def _messages(peer_id: str) -> str:
    return f"conversations/{peer_id}"


def _numbered(name: str, number: int) -> str:
    return f"{name}-{number + 1}" if number else name


def _beside(name: str, number: int) -> str:
    """A link from one page of a list to another."""
    return f"{_numbered(name, number).rpartition('/')[2]}.html"
