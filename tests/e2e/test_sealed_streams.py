"""What people write and who they are is in no stream in plain form, and everybody who may reads it."""

from uuid import uuid4

from contracts.subjects import STREAMS
from tests.e2e.people import Api
from tests.e2e.poison import connected
from tests.e2e.test_keys import everything
from tests.fix_system import one_replica


@one_replica
async def test_no_stream_has_a_text_or_a_name_in_plain_form(api: Api) -> None:
    anna, boris = await api.friends()
    marks = {name: f"{name}-{uuid4().hex}" for name in ("text", "edited", "bio", "name", "draft", "device", "report")}
    (sent,) = await anna.sends(boris, marks["text"])
    assert (await anna.edit(boris, sent["message_id"], marks["edited"])).status_code == 200
    reaction = f"/v1/conversations/{anna.user_id}/messages/{sent['message_id']}/reaction"
    assert (await boris.ask("PUT", reaction, json={"emoji": "👍"})).status_code < 300
    profile = {"display_name": marks["name"], "bio": marks["bio"]}
    assert (await anna.ask("PATCH", "/v1/profiles/me", json=profile)).status_code == 200
    draft = await anna.ask("PATCH", f"/v1/conversations/{boris.user_id}", json={"draft": marks["draft"]})
    assert draft.status_code < 300, draft.text
    await api.again(anna, device=marks["device"])
    assert (await api.log_in(anna.username, "a wrong password", device=marks["device"])).status_code == 401
    report = {
        "user_id": anna.user_id,
        "reason": "spam",
        "comment": marks["report"],
        "message_ids": [sent["message_id"]],
    }
    filed = await boris.ask("POST", "/v1/reports", json=report)
    assert filed.status_code < 300, filed.text

    assert (await boris.messages(anna))[0]["text"] == marks["edited"]
    assert (await anna.conversation(boris) or {})["draft"] == marks["draft"]
    personal = [*marks.values(), anna.username, boris.username, anna.email, boris.email, "👍"]
    async with connected(api, "operator") as connection:
        for stream in STREAMS:
            stored = await everything(connection, stream)
            leaked = [text for text in personal if text.encode() in stored]
            assert leaked == [], stream
            assert b'"ciphertext"' in stored or stream not in ("AUTH", "SESSION", "PROFILE", "MESSAGING")
