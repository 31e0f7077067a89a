"""Routes of profiles and friends: search, changes, requests, reports and blocks."""

from contracts.rpc.vestnik.contact import v1 as contact
from contracts.rpc.vestnik.profile import v1 as profile
from tests.integration.gateway.route_cases.case import AT, OTHER, PEER, SHOWN, WROTE, Case, page

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
PEOPLE = {
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
}
