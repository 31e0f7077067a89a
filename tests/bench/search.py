"""Measures the search for users by name: prefixes, words in the middle, typos, common names."""

import argparse
import random
import time

from nats.aio.client import Client as NATS

from contracts import subjects
from contracts.envelope import Provenance, open_event, seal
from contracts.events.profile import ProfileCreated
from contracts.positions import Position
from contracts.values.ids import new_id
from infra.runtime.connections import open_pool
from projections.engine import PositionWaiter, ReadModel, RowChanges
from projections.engine.apply.merging.change_plans import Shapes
from projections.engine.apply.merging.row_merging import MergedRows
from projections.engine.apply.writing.statements import statement
from projections.engine.rebuild.cutover import start_build
from projections.engine.storage import tables
from projections.engine.storage.builds import BuildState, set_state
from projections.engine.storage.connections import connect
from projections.engine.storage.schema import ensure_schema
from projections.profiles import Profiles
from services.profile.queries import ProfileQueries
from tests.bench import servers
from tests.bench.report import Row, main, percentile

_FIRST = "anna boris vera gleb daria egor zoya ivan kira lev maria marina mark martin nina oleg pavel raisa sofia timur"
_FIRST += " ulyana fedor alexander alexandra alexey elena ekaterina natalia dmitry sergey andrey mikhail svetlana olga"
_LAST = "orlov sokolov volkov lebedev kozlov novikov morozov petrov pavlov semenov golubev vinogradov bogdanov vorobyov"
_LAST += " fedorov mikhailov belyaev tarasov belov komarov kiselev makarov andreev kovalev ilyin gusev titov kuzmin"
_SYLLABLES = ["ka", "lo", "mi", "ne", "ra", "su", "ti", "vo", "be", "di"]


async def measure(arguments: argparse.Namespace) -> list[Row]:
    async with servers.postgres() as url:
        chance = random.Random(11)
        names = [_name(chance, number) for number in range(arguments.profiles)]
        begun = time.perf_counter()
        await _fill(url, names)
        filled = time.perf_counter() - begun
        pool = await open_pool(url, "bench")
        try:
            queries = ProfileQueries(ReadModel(Profiles, pool, PositionWaiter([Profiles], NATS(), pool)))
            rows = [Row(f"filling {arguments.profiles:,} profiles", arguments.profiles / filled, "rows/s")]
            for what, asked in _queries(chance, names, arguments.searches).items():
                rows += await _timed(queries, what, asked)
        finally:
            await pool.close()
        return rows


def _name(chance: random.Random, number: int) -> tuple[str, str]:
    first, last = chance.choice(_FIRST.split()), chance.choice(_LAST.split())
    middle = "".join(chance.choices(_SYLLABLES, k=2))
    return f"{first}_{middle}{number}", f"{first.title()} {middle.title()} {last.title()}"


async def _fill(url: str, names: list[tuple[str, str]]) -> None:
    """Fills the read models as the engine writes them, without the streams."""
    conn = await connect(url, "bench")
    try:
        await ensure_schema(conn)
        build = await start_build(conn, Profiles)
        shapes = Shapes(await tables.inspect(conn, Profiles, build))
        projection = Profiles()
        for batch in (names[start : start + 5_000] for start in range(0, len(names), 5_000)):
            folded = MergedRows(shapes)
            for username, display_name in batch:
                user_id = new_id()
                envelope = seal(
                    ProfileCreated(username=username, display_name=display_name),
                    aggregate_id=user_id,
                    version=1,
                    provenance=Provenance(),
                )
                event = open_event(envelope, stream=subjects.PROFILE, sequence=1, subject=subjects.profile(user_id))
                write = RowChanges()
                projection.created(event, write)  # type: ignore[arg-type]  # what was sealed above
                folded.merge(write.changes)
            async with conn.transaction():
                for group in folded.groups():
                    await conn.execute(*statement(group))
        await tables.add_indexes(conn, Profiles, build)
        for table in Profiles.table_names():
            await tables.show(conn, Profiles, build, table)
        await set_state(conn, build, BuildState.LIVE)
        await conn.execute("ANALYZE")
    finally:
        await conn.close()


def _queries(chance: random.Random, names: list[tuple[str, str]], number: int) -> dict[str, list[str]]:
    picked = chance.choices(names, k=number)
    return {
        "a whole username": [username for username, _ in picked],
        "the first three letters, which thousands have": [display[:3] for _, display in picked],
        "a last name": [display.rsplit(" ", 1)[1] for _, display in picked],
        "a first name with a slip, which thousands have": [_typo(chance, display.split()[0]) for _, display in picked],
        "a full name with a slip in each word": [
            " ".join(_typo(chance, word) for word in display.split()) for _, display in picked
        ],
        "nobody's name": ["".join(chance.choices("qwxjy", k=8)) for _ in picked],
    }


def _typo(chance: random.Random, word: str) -> str:
    index = chance.randrange(1, len(word) - 1)
    return word[:index] + word[index + 1] + word[index] + word[index + 2 :]


async def _timed(queries: ProfileQueries, what: str, asked: list[str]) -> list[Row]:
    taken: list[float] = []
    with_hits = 0
    for query in asked:
        begun = time.perf_counter()
        page, _, _ = await queries.search(query, Position(), limit=50, after=None)
        taken.append((time.perf_counter() - begun) * 1_000)
        with_hits += bool(page)
    taken.sort()
    return [
        Row(f"{what} (found {with_hits / len(asked):.0%}), p50", percentile(taken, 0.5), "ms"),
        Row(f"{what}, p99", percentile(taken, 0.99), "ms", "under 50"),
    ]


if __name__ == "__main__":
    main(measure, profiles=100_000, searches=200)
