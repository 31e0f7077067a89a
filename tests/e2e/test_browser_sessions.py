"""Sessions of pages in a browser, at the level of HTTP: the refresh token is in a cookie and nowhere else."""

import httpx

from tests.e2e.people import PASSWORD, Api, Person, assert_problem, eventually
from tests.fix_system import one_replica

PATH = "/v1/browser/sessions"


async def begin(api: Api, person: Person) -> httpx.Response:
    response = await api.http.post(PATH, json={"login": person.username, "password": PASSWORD, "device": "a page"})
    # Kept by hand, so that each test says which cookie it sends.
    api.http.cookies.clear()
    return response


def cookie(response: httpx.Response) -> str:
    header = response.headers["Set-Cookie"]
    value, *attributes = header.split("; ")
    assert {"HttpOnly", "SameSite=Strict", f"Path={PATH}"} <= set(attributes), header
    return str(value.partition("=")[2])


async def refresh(api: Api, token: str | None, **more: str) -> httpx.Response:
    headers = {**more} if token is None else {"Cookie": f"theme=dark; vestnik_refresh={token}", **more}
    response = await api.http.post(f"{PATH}/refresh", headers=headers)
    api.http.cookies.clear()
    return response


async def test_the_refresh_token_is_in_the_cookie_alone_and_rotates(api: Api) -> None:
    person = await api.person()
    begun = await begin(api, person)
    assert begun.status_code == 201
    assert set(begun.json()) == {"user_id", "session_id", "access_token", "token_type", "expires_in"}
    first = cookie(begun)
    assert first not in begun.text
    renewed = await refresh(api, first)
    assert renewed.status_code == 200, renewed.text
    second = cookie(renewed)
    assert second != first
    headers = {"Authorization": f"Bearer {renewed.json()['access_token']}"}
    assert (await api.http.get("/v1/users/me", headers=headers)).json()["user_id"] == person.user_id
    assert (await refresh(api, second)).status_code == 200
    assert_problem(await refresh(api, first), 401, "refresh_token_reused")

    async def is_refused() -> bool:
        return (await api.http.get("/v1/users/me", headers=headers)).status_code == 401

    # Another gateway learns of it from the stream.
    await eventually(is_refused, "a refused access token of the session", within=5)


@one_replica
async def test_a_page_of_another_origin_of_the_same_site_spends_no_token(api: Api) -> None:
    token = cookie(await begin(api, await api.person()))
    for more in ({"Sec-Fetch-Site": "same-site"}, {"Origin": "https://other.example.org"}):
        assert_problem(await refresh(api, token, **more), 403, "forbidden")
    assert (await refresh(api, token, **{"Sec-Fetch-Site": "same-origin"})).status_code == 200


@one_replica
async def test_the_cookie_alone_opens_nothing_but_the_next_tokens(api: Api) -> None:
    headers = {"Cookie": f"vestnik_refresh={cookie(await begin(api, await api.person()))}"}
    for method, path in (("GET", "/v1/users/me"), ("DELETE", f"{PATH}/current"), ("DELETE", "/v1/sessions/current")):
        assert_problem(await api.http.request(method, path, headers=headers), 401, "unauthenticated")
    assert_problem(await api.http.post("/v1/sessions/refresh", headers=headers, json={}), 422, "invalid")


@one_replica
async def test_without_a_good_cookie_there_is_no_session(api: Api) -> None:
    for token in (None, "", "nonsense", "a.b.c", '"; Path=/; x="'):
        assert_problem(await refresh(api, token), 401, "invalid_refresh_token")
    person = await api.person()
    wrong = await api.http.post(PATH, json={"login": person.username, "password": "not this one"})
    assert_problem(wrong, 401, "invalid_credentials")
    assert "Set-Cookie" not in wrong.headers


async def test_logging_out_ends_the_session_and_takes_the_cookie_away(api: Api) -> None:
    begun = await begin(api, await api.person())
    token = cookie(begun)
    headers = {"Authorization": f"Bearer {begun.json()['access_token']}"}
    ended = await api.http.delete(f"{PATH}/current", headers=headers)
    assert ended.status_code == 204
    assert "Max-Age=0" in ended.headers["Set-Cookie"]
    assert cookie(ended) == ""
    assert_problem(await refresh(api, token), 401, "invalid_refresh_token")


@one_replica
async def test_the_files_of_the_messenger_are_answered_as_files_are(api: Api) -> None:
    page = await api.http.get("/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["Content-Encoding"] == "gzip"
    plain = await api.http.get("/", headers={"Accept-Encoding": "identity"})
    assert plain.text == page.text
    assert "Content-Encoding" not in plain.headers
    again = await api.http.get("/", headers={"If-None-Match": page.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = await api.http.head("/web/js/main.js")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"] == "text/javascript; charset=utf-8"
    view = await api.http.get("/chat/0198d2c6-5d5e-7aaa-8bbb-0123456789ab")
    assert (view.status_code, view.text, view.headers["ETag"]) == (200, page.text, page.headers["ETag"])
    assert view.headers["Content-Security-Policy"] == page.headers["Content-Security-Policy"]
    for path in ("/web/", "/web/../main.py", "/web/%2e%2e/main.py", "/web/js/nothing.js", "/index.html", "/people/x"):
        assert_problem(await api.http.get(path), 404, "not_found")
    assert_problem(await api.http.post("/"), 404, "not_found")


@one_replica
async def test_the_mails_of_a_development_system_are_shown_to_their_recipients(api: Api) -> None:
    account = await api.register()
    token = await api.mailed_token(account["email"])
    (mail,) = (await api.http.get("/dev/mail", params={"to": account["email"]})).json()["items"]
    assert f"Token: {token}" in mail["text"].splitlines()
    assert (await api.http.get("/dev/mail", params={"to": "nobody@example.org"})).json() == {"items": []}
