"""Routes of accounts and sessions: registration, two-step verification, logins, exports and deletion."""

from contracts.rpc.vestnik.auth import v1 as auth
from contracts.rpc.vestnik.session import v1 as session
from tests.integration.gateway.route_cases.case import AT, OTHER, PEER, SHOWN, WROTE, Case, page

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
NEW_USER = {"email": "anna@example.org", "username": "anna", "password": "correct horse"}
ACCOUNTS = {
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
}
