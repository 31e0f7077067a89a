"""Everything killed, the database dropped, the supervisor killed: what was acknowledged is there at the next start."""

from functools import reduce

from contracts.positions import Position
from tests.e2e.history import History
from tests.e2e.people import Api, Json, Person, items
from tests.fix_system import System, wait_until

QUIET_AFTER = 50


async def shown(people: list[Person]) -> list[Json]:
    """Everything that these users read from the read models."""
    contents: list[Json] = []
    for person in people:
        paths = ["/v1/users/me", "/v1/profiles/me"]
        lists = ["/v1/friends", "/v1/conversations", "/v1/notifications?limit=200", "/v1/sessions"]
        answers = [await person.get(path) for path in paths]
        assert [answer.status_code for answer in answers] == [200, 200], [answer.text for answer in answers]
        contents += [answer.json() for answer in answers]
        contents += [{path: items(await person.get(path))} for path in lists]
    return contents


async def populated(api: Api) -> tuple[History, list[Person]]:
    history = await History.among(api, 2)
    async with history.traffic():
        await history.grows_by(QUIET_AFTER)
    await history.check()
    for one, other in history.pairs:
        assert (await one.sees(other, 5)).status_code == 204
        assert (await other.ask("PATCH", "/v1/profiles/me", json={"bio": "still here"})).status_code == 200
    people = [person for pair in history.pairs for person in pair]
    # What they are shown from now on has all of this.
    everything = reduce(Position.merge, (person.written for person in people))
    for person in people:
        person.written = everything
    return history, people


def assert_all_equal(system: System) -> None:
    """`vestnik verify` finds every read model equal to its streams."""
    verified = system.vestnik("verify", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def test_killed_as_a_whole_it_comes_back_with_the_same_state(own_api: Api) -> None:
    api, system = own_api, own_api.system
    history, people = await populated(api)
    repeat = await people[0].write(people[1], "once", "across-the-restart")
    history.acknowledged[0].append(repeat.json())
    await history.check()
    before = await shown(people)

    system.kill_everything()
    system.start()

    await history.check()
    assert await shown(people) == before
    again = await people[0].write(people[1], "once", "across-the-restart")
    assert (again.status_code, again.json()) == (200, repeat.json())
    assert_all_equal(system)
    async with history.traffic():
        await history.grows_by(QUIET_AFTER)
    await history.check()


async def test_a_dropped_database_is_built_again_and_no_mail_goes_out_twice(own_api: Api) -> None:
    api, system = own_api, own_api.system
    earlier = len(api.mails())
    history, people = await populated(api)
    before = await shown(people)
    mails = api.mails()
    assert len(mails) == earlier + len(people)

    system.drop_database()
    assert system.interrupt() == 0
    system.start()

    assert await shown(people) == before
    await history.check()
    assert_all_equal(system)
    # A later mail would come after an earlier one that had been sent again.
    await api.person()
    assert len(api.mails()) == len(mails) + 1


async def test_a_database_dropped_while_it_is_stopped_is_built_again(own_api: Api) -> None:
    api, system = own_api, own_api.system
    _, people = await populated(api)
    before = await shown(people)
    system.drop_database()
    system.kill_everything()
    system.start()
    assert await shown(people) == before
    assert_all_equal(system)


async def test_ctrl_c_leaves_no_process_and_the_next_start_finds_everything(own_api: Api) -> None:
    api, system = own_api, own_api.system
    _, people = await populated(api)
    before = await shown(people)
    assert len(system.processes()) > 8
    assert system.interrupt() == 0
    assert system.alive() == []
    assert not (system.data_dir / "run.json").exists()
    system.start()
    assert await shown(people) == before


async def test_the_supervisor_killed_leaves_no_process(own_api: Api) -> None:
    api, system = own_api, own_api.system
    _, people = await populated(api)
    before = await shown(people)
    system.processes()
    system.kill_supervisor()
    wait_until(lambda: not system.alive(), "every process gone")
    system.start()
    assert await shown(people) == before
