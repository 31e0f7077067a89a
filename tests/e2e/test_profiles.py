"""Profiles: public reads with their caching, changes, search."""

from uuid import uuid4

from contracts.values.ids import new_id
from tests.e2e.people import Api, Json, Person, assert_problem, eventually, items
from tests.fix_system import one_replica

FIELDS = {"user_id", "username", "display_name", "bio", "avatar_url", "verified", "updated_at"}


async def change(person: Person, fields: Json, **headers: str) -> Json:
    response = await person.ask("PATCH", "/v1/profiles/me", json=fields, headers=headers)
    assert response.status_code == 200, response.text
    changed: Json = response.json()
    return changed


async def test_a_profile_is_public(api: Api) -> None:
    person = await api.person(display_name="Anna Ж")
    response = await api.http.get(f"/v1/profiles/{person.user_id}")
    assert response.status_code == 200
    profile = response.json()
    assert set(profile) == FIELDS
    assert (profile["user_id"], profile["username"]) == (person.user_id, person.username)
    assert profile["display_name"] == "Anna Ж"
    assert response.headers["Cache-Control"] == "public, max-age=60, stale-while-revalidate=300"


@one_replica
async def test_who_gives_no_display_name_has_the_username(api: Api) -> None:
    person = await api.person()
    assert (await person.get("/v1/profiles/me")).json()["display_name"] == person.username


async def test_an_unchanged_profile_is_not_sent_again(api: Api) -> None:
    person = await api.person()
    path = f"/v1/profiles/{person.user_id}"

    async def settled() -> str:
        response = await api.http.get(path)
        return response.headers["ETag"] if response.json()["verified"] else ""

    tag = await eventually(settled, "a verified profile")
    for tags in (tag, f'"other", {tag}', "*", f"W/{tag.removeprefix('W/')}"):
        response = await api.http.get(path, headers={"If-None-Match": tags})
        assert (response.status_code, response.content) == (304, b""), tags
        assert response.headers["ETag"] == tag
    assert (await api.http.get(path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_ones_own_profile_is_not_for_shared_caches(api: Api) -> None:
    person = await api.person()
    response = await person.get("/v1/profiles/me")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.json()["user_id"] == person.user_id
    assert_problem(await api.http.get("/v1/profiles/me"), 401, "unauthenticated")


@one_replica
async def test_a_profile_of_nobody_is_not_found(api: Api) -> None:
    assert_problem(await api.http.get(f"/v1/profiles/{new_id()}"), 404, "profile_not_found")


async def test_a_change_is_merged(api: Api) -> None:
    person = await api.person(display_name="Anna")
    full = await change(person, {"bio": "Writes.", "avatar_url": "https://example.org/a.png"})
    assert (full["display_name"], full["bio"], full["avatar_url"]) == ("Anna", "Writes.", "https://example.org/a.png")
    less = await change(person, {"bio": "", "display_name": "Anna B"})
    assert (less["display_name"], less["bio"], less["avatar_url"]) == ("Anna B", "", "https://example.org/a.png")
    bare = await change(person, {"avatar_url": None, "display_name": None})
    assert (bare["display_name"], bare["avatar_url"]) == (person.username, None)


@one_replica
async def test_a_merge_patch_has_a_content_type_of_its_own(api: Api) -> None:
    person = await api.person()
    kind = {"Content-Type": "application/merge-patch+json"}
    assert (await change(person, {"bio": "patched"}, **kind))["bio"] == "patched"


async def test_a_change_is_visible_at_once_to_oneself_and_soon_to_others(api: Api) -> None:
    person = await api.person()
    path = f"/v1/profiles/{person.user_id}"
    await api.http.get(path)
    await change(person, {"bio": "first"})
    assert (await person.get("/v1/profiles/me")).json()["bio"] == "first"

    async def seen() -> bool:
        return bool((await api.http.get(path)).json()["bio"] == "first")

    await eventually(seen, "the change in the public profile", within=20)


async def test_a_position_makes_a_public_read_fresh_and_private(api: Api) -> None:
    person = await api.person()
    path = f"/v1/profiles/{person.user_id}"
    for number in range(5):
        await api.http.get(path)
        body = {"bio": f"number {number}"}
        changed = await person.ask("PATCH", "/v1/profiles/me", json=body)
        position = {"Vestnik-Position": changed.headers["Vestnik-Position"]}
        response = await api.http.get(path, headers=position)
        assert response.json()["bio"] == f"number {number}"
        assert response.headers["Cache-Control"] == "private, no-cache"


async def test_a_change_on_a_stale_profile_is_refused(api: Api) -> None:
    person = await api.person()
    await change(person, {"bio": "one"})
    tag = (await person.get("/v1/profiles/me")).headers["ETag"]
    response = await person.ask("PATCH", "/v1/profiles/me", json={"bio": "two"}, headers={"If-Match": tag})
    assert response.status_code == 200
    stale = await person.ask("PATCH", "/v1/profiles/me", json={"bio": "three"}, headers={"If-Match": tag})
    assert_problem(stale, 412, "stale_profile")
    assert (await person.get("/v1/profiles/me")).json()["bio"] == "two"
    chained = await person.ask(
        "PATCH", "/v1/profiles/me", json={"bio": "four"}, headers={"If-Match": response.headers["ETag"]}
    )
    assert chained.status_code == 200


async def test_settings_are_one_s_own(api: Api) -> None:
    anna, boris = await api.friends()
    before = await anna.get("/v1/profiles/me")
    assert set(before.json()) == FIELDS | {"presence", "language"}
    assert (before.json()["presence"], before.json()["language"]) == ("friends", None)
    changed = await change(anna, {"presence": "nobody", "language": "ru"})
    assert (changed["presence"], changed["language"], changed["display_name"]) == ("nobody", "ru", anna.username)
    unchanged = {"If-None-Match": before.headers["ETag"]}
    own = await anna.get("/v1/profiles/me", headers=unchanged)
    assert (own.status_code, own.json()["presence"], own.json()["language"]) == (200, "nobody", "ru")
    path = f"/v1/profiles/{anna.user_id}"
    position = {"Vestnik-Position": anna.position}
    for answer in (
        await anna.get(path),
        await boris.get(path, headers=position),
        await api.http.get(path, headers=position),
    ):
        assert set(answer.json()) == FIELDS
        assert answer.json()["updated_at"] == before.json()["updated_at"]
    response = await boris.get("/v1/profiles", params={"query": anna.username}, headers=position)
    assert [set(row) for row in items(response)] == [FIELDS]
    kept = await change(anna, {"bio": "Writes."})
    assert (kept["presence"], kept["language"]) == ("nobody", "ru")
    reset = await change(anna, {"presence": None, "language": None})
    assert (reset["presence"], reset["language"], reset["bio"]) == ("friends", None, "Writes.")


@one_replica
async def test_a_change_that_is_not_valid_is_refused(api: Api) -> None:
    person = await api.person()
    for field, value in (
        ("display_name", ""),
        ("display_name", "x" * 65),
        ("bio", "x" * 501),
        ("bio", "nul\x00"),
        ("bio", " \n"),
        ("bio", "\x1b[2J"),
        ("display_name", "\u200b\u2060"),
        ("display_name", "Anna\u202eaveL"),
        ("display_name", "Anna\nLev"),
        ("avatar_url", "http://example.org/a.png"),
        ("avatar_url", "javascript:alert(1)"),
        ("avatar_url", "https://example.org/" + "x" * 500),
        ("username", "other"),
        ("presence", "everybody"),
        ("presence", ""),
        ("language", "de"),
        ("language", ""),
        ("language", ["ru"]),
    ):
        problem = assert_problem(await person.ask("PATCH", "/v1/profiles/me", json={field: value}), 422, "invalid")
        assert [error["path"] for error in problem["errors"]] in ([f"/{field}"], [""]), (field, value)


@one_replica
async def test_names_and_descriptions_are_kept_in_one_spelling(api: Api) -> None:
    person = await api.person(display_name="Rene\u0301")
    assert (await person.get("/v1/profiles/me")).json()["display_name"] == "Ren\u00e9"
    changed = await change(person, {"display_name": "A\u030asa", "bio": "cafe\u0301\nthe\u0301"})
    assert (changed["display_name"], changed["bio"]) == ("\u00c5sa", "caf\u00e9\nth\u00e9")


async def test_profiles_are_found_by_the_beginning_of_either_name(api: Api) -> None:
    mark = uuid4().hex[:12]
    people = [
        await api.person(username=f"{mark}.{number}", display_name=f"Żółw {mark} {number}") for number in range(3)
    ]
    expected = {person.user_id for person in people}
    for query in (mark, mark.upper(), f"Żółw {mark}", f"żółw {mark}"):

        async def all_found(query: str = query) -> bool:
            listed = items(await people[0].get("/v1/profiles", params={"query": query}))
            return {row["user_id"] for row in listed} == expected and all(set(row) == FIELDS for row in listed)

        await eventually(all_found, f"the profiles that begin with {query}")
    assert items(await people[0].get("/v1/profiles", params={"query": f"{mark}%"})) == []
    assert items(await people[0].get("/v1/profiles", params={"query": f"{mark}_"})) == []


async def test_a_search_goes_on_page_by_page(api: Api) -> None:
    mark = uuid4().hex[:12]
    people = [await api.person(username=f"{mark}_{number}") for number in range(5)]
    query: dict[str, str | int] = {"query": mark, "limit": 2}

    async def complete() -> bool:
        return len(items(await people[0].get("/v1/profiles", params={"query": mark}))) == 5

    await eventually(complete, "all five profiles")
    user_ids: list[str] = []
    for size in (2, 2, 1):
        page = (await people[0].get("/v1/profiles", params=query)).json()
        assert len(page["items"]) == size
        user_ids += [row["user_id"] for row in page["items"]]
        query["cursor"] = page["next"]
    assert page["next"] is None
    assert sorted(user_ids) == sorted(person.user_id for person in people)


@one_replica
async def test_a_search_needs_a_token_and_a_query(api: Api) -> None:
    person = await api.person()
    assert_problem(await api.http.get("/v1/profiles", params={"query": "a"}), 401, "unauthenticated")
    assert_problem(await person.get("/v1/profiles"), 422, "invalid")
