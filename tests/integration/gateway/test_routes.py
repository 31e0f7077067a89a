"""Every route: its call to the service, and its response."""

from dataclasses import dataclass, field
from itertools import cycle

import httpx
import msgspec
import pytest
from grpclib import GRPCError, Status

from contracts.errors import (
    DataExportExpired,
    DataExportNotFound,
    DataExportNotMade,
    DeadlineExceeded,
    ReadModelBehind,
    Unavailable,
)
from contracts.positions import Position
from contracts.rpc.vestnik.auth import v1 as auth
from contracts.rpc.vestnik.contact import v1 as contact
from contracts.rpc.vestnik.messaging import v1 as messaging
from contracts.rpc.vestnik.profile import v1 as profile
from contracts.rpc.vestnik.session import v1 as session
from contracts.values.ids import new_id
from tests.integration.gateway.conftest import Stage
from tests.integration.gateway.scripted import Answer

PEER = "01890a5d-ac96-774b-bcce-b302099a8057"
OTHER = "01890a5d-ac96-774b-bcce-b302099a8058"
WROTE = Position({"AUTH": 3, "MESSAGING": 7}).encode()
AT = 1_767_225_600_005
SHOWN = "2026-01-01T00:00:00.005Z"
TOKENS = session.Tokens(
    user_id=PEER, session_id=PEER, access_token="a", expires_in=900, refresh_token="r", position=WROTE
)
TOKENS_JSON = {
    "user_id": PEER,
    "session_id": PEER,
    "access_token": "a",
    "token_type": "Bearer",
    "expires_in": 900,
    "refresh_token": "r",
}
SENT = {
    "message_id": PEER,
    "conversation_id": PEER,
    "sequence": 4,
    "sender_id": PEER,
    "text": "Привет\n👋",
    "sent_at": SHOWN,
}
ITEM = {key: value for key, value in SENT.items() if key != "conversation_id"}
SENT_JSON, ITEMS_JSON = msgspec.json.encode(SENT), msgspec.json.encode([ITEM])
CONVERSATION: dict[str, object] = {
    "user_id": PEER,
    "conversation_id": PEER,
    "last_message": ITEM,
    "unread_count": 1,
    "seen_sequence": 3,
    "peer_seen_sequence": 4,
    "muted_until": "forever",
    "pinned": True,
    "archived": False,
}
PROFILE = profile.Profile(user_id=PEER, username="anna", display_name="Anna", updated_at=AT, etag="e1")
SETTINGS = profile.ProfileSettings(presence="nobody")
OWN = profile.Profile(user_id=PEER, username="anna", display_name="Anna", updated_at=AT, etag="e1", settings=SETTINGS)
PROFILE_JSON = {
    "user_id": PEER,
    "username": "anna",
    "display_name": "Anna",
    "bio": "",
    "avatar_url": None,
    "verified": False,
    "updated_at": SHOWN,
}
NEW_USER = {"email": "anna@example.org", "username": "anna", "password": "correct horse"}


@dataclass
class Case:
    method: str
    path: str
    answers: dict[str, Answer]
    status: int
    expected: object = None
    body: object = None
    public: bool = False
    asked: dict[str, object] = field(default_factory=dict)


def page(*items: object, following: str | None = None) -> dict[str, object]:
    return {"items": list(items), "next": following}


CASES = {
    "register": Case(
        "POST",
        "/v1/users",
        {
            "register": auth.RegisterResponse(
                user=auth.User(user_id=PEER, username="anna", email="anna@example.org"), position=WROTE
            )
        },
        201,
        {"user_id": PEER, "username": "anna", "email": "anna@example.org", "email_verified": False},
        body=NEW_USER,
        public=True,
        asked={"email": "anna@example.org", "display_name": None, "language": "en"},
    ),
    "verify": Case(
        "POST",
        "/v1/users/verify-email",
        {"verify_email": auth.VerifyEmailResponse(user_id=PEER, position=WROTE)},
        204,
        body={"token": "t"},
        public=True,
        asked={"token": "t"},
    ),
    "resend": Case(
        "POST",
        "/v1/users/resend-verification",
        {"resend_verification": auth.ResendVerificationResponse()},
        202,
        body={"email": "anna@example.org"},
        public=True,
    ),
    "account": Case(
        "GET",
        "/v1/users/me",
        {
            "get_user": auth.GetUserResponse(
                user=auth.User(
                    user_id=PEER, username="anna", email="a@example.org", email_verified=True, created_at=AT, totp=True
                ),
                position=WROTE,
            )
        },
        200,
        {
            "user_id": PEER,
            "username": "anna",
            "email": "a@example.org",
            "email_verified": True,
            "created_at": SHOWN,
            "totp": True,
        },
    ),
    "set up two-step verification": Case(
        "POST",
        "/v1/users/me/totp",
        {"begin_totp": auth.BeginTotpResponse(secret="ABCD", otpauth_uri="otpauth://totp/x", qr_code=["10", "01"])},
        200,
        {"secret": "ABCD", "otpauth_uri": "otpauth://totp/x", "qr_code": ["10", "01"]},
        body={"password": "correct horse"},
        asked={"password": "correct horse", "address": "127.0.0.1"},
    ),
    "turn two-step verification on": Case(
        "POST",
        "/v1/users/me/totp/confirm",
        {"confirm_totp": auth.ConfirmTotpResponse(recovery_codes=["a", "b"], device_token="d", position=WROTE)},
        200,
        {"recovery_codes": ["a", "b"]},
        body={"code": "123 456"},
        asked={"code": "123 456", "address": "127.0.0.1"},
    ),
    "turn two-step verification off": Case(
        "DELETE",
        "/v1/users/me/totp",
        {"end_totp": auth.EndTotpResponse(position=WROTE)},
        204,
        None,
        body={"password": "correct horse", "code": "123456"},
        asked={"password": "correct horse", "code": "123456", "address": "127.0.0.1"},
    ),
    "log in": Case(
        "POST",
        "/v1/sessions",
        {"login": auth.LoginResponse(tokens=TOKENS, device_token="d")},
        201,
        {**TOKENS_JSON, "device_token": "d"},
        body={"login": "anna", "password": "correct horse", "device": "phone", "device_token": "c", "totp": "123456"},
        public=True,
        asked={
            "device": "phone",
            "address": "127.0.0.1",
            "device_token": "c",
            "known_device_only": False,
            "totp": "123456",
            "proved_device_only": False,
        },
    ),
    "refresh": Case(
        "POST",
        "/v1/sessions/refresh",
        {"refresh_session": session.RefreshSessionResponse(tokens=TOKENS)},
        200,
        TOKENS_JSON,
        body={"refresh_token": "r"},
        public=True,
    ),
    "account deleted": Case(
        "DELETE",
        "/v1/users/me",
        {"delete_account": auth.DeleteAccountResponse(erased_at=AT, position=WROTE)},
        202,
        {"erased_at": SHOWN},
        body={"password": "correct horse"},
    ),
    "data export requested": Case(
        "POST",
        "/v1/users/me/exports",
        {"request_data_export": auth.RequestDataExportResponse(export_id=PEER, position=WROTE)},
        202,
        {"export_id": PEER},
    ),
    "data exports": Case(
        "GET",
        "/v1/users/me/exports",
        {
            "list_data_exports": auth.ListDataExportsResponse(
                exports=[
                    auth.DataExport(export_id=PEER, state="ready", requested_at=AT, expires_at=AT, size=3, parts=1),
                    auth.DataExport(export_id=OTHER, state="failed", requested_at=AT),
                ],
                position=WROTE,
            )
        },
        200,
        page(
            {"export_id": PEER, "state": "ready", "requested_at": SHOWN, "expires_at": SHOWN, "size": 3},
            {"export_id": OTHER, "state": "failed", "requested_at": SHOWN},
        ),
    ),
    "data export being made": Case(
        "GET",
        f"/v1/users/me/exports/{PEER}",
        {
            "open_data_export": auth.OpenDataExportResponse(
                export=auth.DataExport(export_id=PEER, state="making", requested_at=AT), position=WROTE
            )
        },
        202,
        {"export_id": PEER, "state": "making", "requested_at": SHOWN},
    ),
    "sessions": Case(
        "GET",
        "/v1/sessions?limit=2",
        {
            "list_sessions": session.ListSessionsResponse(
                sessions=[
                    session.Session(session_id=PEER, device="tv", created_at=AT, last_refreshed_at=AT),
                    session.Session(
                        session_id=OTHER, device="", created_at=AT, last_refreshed_at=AT, address="192.0.2.0/24"
                    ),
                ],
                next="more",
                position=WROTE,
            )
        },
        200,
        page(
            {"session_id": PEER, "device": "tv", "created_at": SHOWN, "last_refreshed_at": SHOWN, "current": False},
            {
                "session_id": OTHER,
                "device": "",
                "created_at": SHOWN,
                "last_refreshed_at": SHOWN,
                "current": False,
                "address": "192.0.2.0/24",
            },
            following="more",
        ),
        asked={"limit": 2},
    ),
    "end a session": Case(
        "DELETE",
        f"/v1/sessions/{PEER}",
        {"revoke_session": session.RevokeSessionResponse(revoked=1, position=WROTE)},
        204,
        asked={"session_id": PEER, "reason": "revoked_elsewhere"},
    ),
    "log out": Case(
        "DELETE",
        "/v1/sessions/current",
        {"revoke_session": session.RevokeSessionResponse(revoked=1, position=WROTE)},
        204,
        asked={"reason": "logout"},
    ),
    "end the others": Case(
        "DELETE",
        "/v1/sessions",
        {"revoke_session": session.RevokeSessionResponse(revoked=2, position=WROTE)},
        204,
        asked={"session_id": None},
    ),
    "search": Case(
        "GET",
        "/v1/profiles?query=an",
        {"search_profiles": profile.SearchProfilesResponse(profiles=[PROFILE], position=WROTE)},
        200,
        page(PROFILE_JSON),
        asked={"query": "an", "limit": 50},
    ),
    "update": Case(
        "PATCH",
        "/v1/profiles/me",
        {"update_profile": profile.UpdateProfileResponse(profile=OWN, position=WROTE)},
        200,
        PROFILE_JSON | {"presence": "nobody", "language": None},
        body={"display_name": None, "bio": "hi", "presence": None, "language": "ru"},
        asked={"display_name": "", "bio": "hi", "avatar_url": None, "presence": "", "language": "ru"},
    ),
    "ask": Case(
        "PUT",
        f"/v1/friends/{PEER}",
        {"add_friend": contact.AddFriendResponse(state=contact.FriendState.OUTGOING, created=True, position=WROTE)},
        201,
        {"user_id": PEER, "state": "requested"},
    ),
    "ask again": Case(
        "PUT",
        f"/v1/friends/{PEER.upper()}",
        {"add_friend": contact.AddFriendResponse(state=contact.FriendState.OUTGOING, position=WROTE)},
        200,
        {"user_id": PEER, "state": "requested"},
    ),
    "agree": Case(
        "PUT",
        f"/v1/friends/{PEER}",
        {"add_friend": contact.AddFriendResponse(state=contact.FriendState.ACCEPTED, position=WROTE)},
        200,
        {"user_id": PEER, "state": "accepted"},
    ),
    "unfriend": Case(
        "DELETE", f"/v1/friends/{PEER}", {"remove_friend": contact.RemoveFriendResponse(position=WROTE)}, 204
    ),
    "friends": Case(
        "GET",
        "/v1/friends?state=incoming",
        {
            "get_friends": contact.GetFriendsResponse(
                friends=[contact.Friend(user_id=PEER, state=contact.FriendState.INCOMING, since=AT)], position=WROTE
            )
        },
        200,
        page({"user_id": PEER, "state": "incoming", "since": SHOWN}),
        asked={"state": contact.FriendState.INCOMING},
    ),
    "report": Case(
        "POST",
        "/v1/reports",
        {"report_user": contact.ReportUserResponse(report_id=PEER)},
        202,
        {"report_id": PEER},
        body={"user_id": PEER, "message_ids": [OTHER], "reason": "spam", "comment": "Again."},
        asked={"reported_id": PEER, "message_ids": [OTHER], "reason": "spam", "comment": "Again."},
    ),
    "block": Case("PUT", f"/v1/blocks/{PEER}", {"block_user": contact.BlockUserResponse(position=WROTE)}, 204),
    "unblock": Case("DELETE", f"/v1/blocks/{PEER}", {"unblock_user": contact.UnblockUserResponse(position=WROTE)}, 204),
    "blocks": Case(
        "GET",
        "/v1/blocks?limit=7",
        {
            "list_blocked": contact.ListBlockedResponse(
                blocked=[contact.BlockedUser(user_id=PEER, since=AT)], next="more", position=WROTE
            )
        },
        200,
        {"items": [{"user_id": PEER, "since": SHOWN}], "next": "more"},
        asked={"limit": 7},
    ),
    "send": Case(
        "POST",
        f"/v1/conversations/{PEER}/messages",
        {"send_message": messaging.SendMessageResponse(message=SENT_JSON, created=True, position=WROTE)},
        201,
        SENT,
        body={"text": "Привет\n👋", "client_message_id": "c-1"},
        asked={"text": "Привет\n👋", "client_message_id": "c-1", "recipient_id": PEER},
    ),
    "send again": Case(
        "POST",
        f"/v1/conversations/{PEER}/messages",
        {"send_message": messaging.SendMessageResponse(message=SENT_JSON, created=False, position=WROTE)},
        200,
        SENT,
        body={"text": "Привет\n👋", "client_message_id": "c-1"},
    ),
    "messages": Case(
        "GET",
        f"/v1/conversations/{PEER}/messages?after=0&limit=1",
        {"get_messages": messaging.GetMessagesResponse(items=ITEMS_JSON, last=4, position=WROTE)},
        200,
        page(ITEM),
        asked={"after": 0, "before": None, "limit": 1, "peer_id": PEER},
    ),
    "seen": Case(
        "PUT",
        f"/v1/conversations/{PEER}/seen",
        {"mark_seen": messaging.MarkSeenResponse(position=WROTE)},
        204,
        body={"sequence": 4},
        asked={"sequence": 4, "peer_id": PEER},
    ),
    "set": Case(
        "PATCH",
        f"/v1/conversations/{PEER}",
        {"update_conversation": messaging.UpdateConversationResponse(position=WROTE)},
        204,
        body={"muted_until": "1970-01-01T01:00:00.005+01:00", "pinned": None},
        asked={"peer_id": PEER, "muted_until": 5, "pinned": False, "archived": None, "draft": None},
    ),
    "draft": Case(
        "PATCH",
        f"/v1/conversations/{PEER}",
        {"update_conversation": messaging.UpdateConversationResponse()},
        204,
        body={"draft": None},
        asked={"peer_id": PEER, "muted_until": None, "pinned": None, "draft": ""},
    ),
    "conversations without drafts": Case(
        "GET",
        "/v1/conversations",
        {
            "list_conversations": messaging.ListConversationsResponse(
                items=b"[]", drafts_unavailable=True, position=WROTE
            )
        },
        200,
        page() | {"drafts_unavailable": True},
    ),
    "search messages": Case(
        "GET",
        f"/v1/messages?query=%D0%BF%D1%80&user_id={PEER}&limit=2&cursor=c",
        {"search_messages": messaging.SearchMessagesResponse(items=b'[{"highlights":[]}]', next="n", position=WROTE)},
        200,
        {"items": [{"highlights": []}], "next": "n"},
        asked={"query": "пр", "peer_id": PEER, "limit": 2, "cursor": "c"},
    ),
    "conversations": Case(
        "GET",
        "/v1/conversations",
        {
            "list_conversations": messaging.ListConversationsResponse(
                items=msgspec.json.encode([CONVERSATION, CONVERSATION | {"last_message": None}]), position=WROTE
            )
        },
        200,
        page(CONVERSATION, CONVERSATION | {"last_message": None}),
    ),
    "unread conversations": Case(
        "GET",
        "/v1/conversations/unread",
        {
            "count_unread": messaging.CountUnreadConversationsResponse(conversations=2, messages=5, position=WROTE),
        },
        200,
        {"unread_conversations": 2, "unread_messages": 5},
    ),
    "read by conversation": Case(
        "POST",
        "/v1/notifications/read",
        {"mark_read": messaging.MarkNotificationsReadResponse(position=WROTE)},
        204,
        body={"notification_ids": [PEER], "group": "conversation"},
        asked={"notification_ids": [PEER], "up_to": "", "by_conversation": True},
    ),
    "notifications by conversation": Case(
        "GET",
        "/v1/notifications?group=conversation",
        {"list_notifications": messaging.ListNotificationsResponse(position=WROTE)},
        200,
        page(),
        asked={"by_conversation": True},
    ),
    "notifications": Case(
        "GET",
        "/v1/notifications",
        {
            "list_notifications": messaging.ListNotificationsResponse(
                notifications=[
                    messaging.Notification(
                        notification_id=PEER, kind="friend_request", from_user_id=PEER, at=AT, read=False
                    )
                ],
                position=WROTE,
            )
        },
        200,
        page({"notification_id": PEER, "kind": "friend_request", "from_user_id": PEER, "at": SHOWN, "read": False}),
    ),
}


async def test_every_route_asks_its_service_and_answers_as_documented(stage: Stage, subtests: pytest.Subtests) -> None:
    for name, case in CASES.items():
        # Another session each, since some cases end theirs.
        stage.session_id = new_id()
        with subtests.test(name):
            await check(case, stage)


@pytest.mark.parametrize("error", [ReadModelBehind(), GRPCError(Status.UNIMPLEMENTED), DeadlineExceeded()])
async def test_a_history_has_its_sessions_while_auth_cannot_say_which_logins_failed(
    stage: Stage, error: Exception
) -> None:
    past = session.PastSession(session_id=PEER, device="phone", created_at=AT, last_refreshed_at=AT)
    answered = session.ListHistoryResponse(sessions=[past], position=WROTE)
    stage.script.answers = {"list_history": answered, "list_failed_logins": error}

    answer = await stage.client.get("/v1/sessions/history", headers=stage.signed_in)

    assert answer.status_code == 200, answer.text
    assert ([one["session_id"] for one in answer.json()["items"]], answer.json()["failed_attempts"]) == ([PEER], None)
    # What a position waits for are the sessions.
    stage.script.answers["list_history"] = ReadModelBehind()
    answer = await stage.client.get("/v1/sessions/history", headers=stage.signed_in)
    assert (answer.status_code, answer.json()["code"]) == (503, "read_model_behind")


async def test_the_first_step_of_the_login_on_the_page_before_is_left_out_and_no_other(stage: Stage) -> None:
    first_steps = [
        auth.FailedLogin(at=AT, since=AT, reason="code_required", device=device, address="192.0.2.1", count=1)
        for device in ("phone", "thief's phone")
    ]
    newer = session.PastSession(session_id=PEER, device="phone", address="192.0.2.1", created_at=AT + 20_000)
    stage.script.answers = {
        "list_history": session.ListHistoryResponse(position=WROTE, before=newer.created_at, newer=newer),
        "list_failed_logins": auth.ListFailedLoginsResponse(failures=first_steps),
    }

    answer = await stage.client.get("/v1/sessions/history?cursor=any", headers=stage.signed_in)

    assert [one["device"] for one in answer.json()["failed_attempts"]] == ["thief's phone"]


async def check(case: Case, stage: Stage) -> None:
    stage.script.answers = case.answers

    answer = await stage.client.request(
        case.method,
        case.path,
        json=case.body,
        headers={"x-request-id": "r-1", **({} if case.public else stage.signed_in)},
    )

    assert answer.status_code == case.status, answer.text
    assert (answer.json() if answer.content else None) == case.expected
    assert answer.headers["x-request-id"] == "r-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert stage.sealed.open(answer.headers["vestnik-position"]).sequences
    _, request, call = stage.script.asked[-1]
    assert {key: getattr(request, key) for key in case.asked} == case.asked
    assert (call.request_id, call.actor) == ("r-1", None if case.public else stage.user_id)
    if not case.public:
        assert (await stage.client.request(case.method, case.path, json=case.body)).status_code == 401


@pytest.mark.parametrize(
    ("named", "accepted", "language"),
    [
        ({"language": "ru"}, "en", "ru"),
        ({"language": "en"}, "ru", "en"),
        ({}, "ru-RU, en;q=0.5", "ru"),
        ({}, "de, *;q=0.1", "en"),
    ],
)
async def test_the_language_of_an_accounts_mails_is_the_one_named_else_the_one_that_is_accepted(
    stage: Stage, named: dict[str, str], accepted: str, language: str
) -> None:
    user = auth.User(user_id=PEER, username="anna", email="anna@example.org")
    stage.script.answers["register"] = auth.RegisterResponse(user=user, position=WROTE)
    response = await stage.client.post("/v1/users", json=NEW_USER | named, headers={"Accept-Language": accepted})
    assert response.status_code == 201
    request = stage.script.asked[-1][1]
    assert isinstance(request, auth.RegisterRequest)
    assert request.language == language


async def test_messages_are_paged_with_a_cursor_in_the_direction_asked_for(stage: Stage) -> None:
    stage.script.answers = {"get_messages": messaging.GetMessagesResponse(items=ITEMS_JSON, last=4, more=True)}
    path = f"/v1/conversations/{PEER}/messages"
    for given, wanted in (({}, (4, None)), ({"before": 9}, (4, None)), ({"after": 0}, (None, 4))):
        first = await stage.client.get(path, params=given, headers=stage.signed_in)
        following = first.json()["next"]
        assert (await stage.client.get(path, params={"cursor": following}, headers=stage.signed_in)).status_code == 200
        request = stage.script.asked[-1][1]
        assert isinstance(request, messaging.GetMessagesRequest)
        assert (request.before, request.after) == wanted
    refused = await stage.client.get(path, params={"before": 1, "after": 1}, headers=stage.signed_in)
    assert refused.json()["errors"][0]["path"] == "/query/after"
    assert (await stage.client.get(path, params={"cursor": "abc"}, headers=stage.signed_in)).status_code == 422


@pytest.mark.parametrize(
    ("query_string", "parameter"),
    [
        ("", "query"),
        ("query=", "query"),
        ("query=a%00b", "query"),
        ("query=" + "a" * 201, "query"),
        ("query=" + "%D0%B6" * 1_000, "query"),
        ("query=a&query=b", "query"),
        ("query=a&user_id=anna", "user_id"),
        ("query=a&user_id=", "user_id"),
        ("query=a&limit=201", "limit"),
        ("query=a&cursor=%27", "cursor"),
    ],
)
async def test_a_search_that_is_no_search_asks_no_service(query_string: str, parameter: str, stage: Stage) -> None:
    stage.script.answers = {}
    asked = len(stage.script.asked)
    refused = await stage.client.get(f"/v1/messages?{query_string}", headers=stage.signed_in)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == f"/query/{parameter}"
    assert len(stage.script.asked) == asked


@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json; charset=utf-8"])
async def test_a_profile_is_patched_if_the_tag_still_holds(media_type: str, stage: Stage) -> None:
    stage.script.answers = {"update_profile": profile.UpdateProfileResponse(profile=OWN, position=WROTE)}
    headers = [*stage.signed_in.items(), ("content-type", media_type), ("if-match", '"e0"'), ("if-match", '"e1"')]

    answer = await stage.client.patch("/v1/profiles/me", content=b"{}", headers=headers)

    assert answer.headers["etag"] == '"e1"'
    request = stage.script.asked[-1][1]
    assert isinstance(request, profile.UpdateProfileRequest)
    assert request.if_match == ["e0", "e1"]


READY = auth.OpenDataExportResponse(
    export=auth.DataExport(export_id=PEER, state="ready", requested_at=AT, expires_at=AT, size=5, parts=2)
)


async def test_a_copy_of_ones_data_is_an_attachment_that_nothing_caches(stage: Stage) -> None:
    parts = cycle([b"abc", b"de"])

    async def read() -> auth.ReadDataExportResponse:
        return auth.ReadDataExportResponse(content=next(parts))

    stage.script.answers = {"open_data_export": READY, "read_data_export": read}
    answer = await stage.client.get(f"/v1/users/me/exports/{PEER}", headers=stage.signed_in)
    assert (answer.status_code, answer.content) == (200, b"abcde")
    assert {
        name: answer.headers.get(name)
        for name in ("content-type", "content-length", "content-disposition", "cache-control", "x-content-type-options")
    } == {
        "content-type": "application/zip",
        "content-length": "5",
        "content-disposition": 'attachment; filename="vestnik-2026-01-01.zip"',
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    parts_read = [asked.part for _, asked, _ in stage.script.asked if isinstance(asked, auth.ReadDataExportRequest)]
    assert parts_read == [0, 1]
    answers = [await stage.client.get(f"/v1/users/me/exports/{PEER}", headers=stage.signed_in) for _ in range(10)]
    assert [answer.status_code for answer in answers[-2:]] == [200, 429]
    opened = next(asked for _, asked, _ in stage.script.asked if isinstance(asked, auth.OpenDataExportRequest))
    assert (opened.user_id, opened.session_id) == (stage.user_id, stage.session_id)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (DataExportExpired(), 410, "data_export_expired"),
        (DataExportNotMade(), 410, "data_export_failed"),
        (DataExportNotFound(), 404, "data_export_not_found"),
    ],
)
async def test_a_copy_that_cannot_be_downloaded_says_why(
    stage: Stage, error: Exception, status: int, code: str
) -> None:
    stage.script.answers = {"open_data_export": error}
    answer = await stage.client.get(f"/v1/users/me/exports/{PEER}", headers=stage.signed_in)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_store_that_does_not_answer_is_503_before_a_download_begins_and_breaks_it_off_later(
    stage: Stage,
) -> None:
    stage.script.answers = {"open_data_export": READY, "read_data_export": Unavailable(retry_after=2)}
    answer = await stage.client.get(f"/v1/users/me/exports/{PEER}", headers=stage.signed_in)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    parts = iter([b"abc"])

    async def read() -> auth.ReadDataExportResponse:
        for content in parts:
            return auth.ReadDataExportResponse(content=content)
        raise Unavailable(retry_after=2)

    stage.script.answers["read_data_export"] = read
    with pytest.raises(httpx.TransportError):
        await stage.client.get(f"/v1/users/me/exports/{PEER}", headers=stage.signed_in)
