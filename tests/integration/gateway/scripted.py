"""Services with scripted answers, behind the real gRPC server and a real HTTP server."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import betterproto2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.rpc.vestnik.auth import v1 as auth
from contracts.rpc.vestnik.contact import v1 as contact
from contracts.rpc.vestnik.messaging import v1 as messaging
from contracts.rpc.vestnik.notary import v1 as notary
from contracts.rpc.vestnik.profile import v1 as profile
from contracts.rpc.vestnik.session import v1 as session
from infra.rpc.call_context import Call, current

T = TypeVar("T", bound=betterproto2.Message)
Answer = betterproto2.Message | Exception | Callable[[], Awaitable[betterproto2.Message]]


class Script:
    """The answer of each method, and the calls it received."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, betterproto2.Message, Call]] = []

    async def play(self, method: str, request: betterproto2.Message, kind: type[T]) -> T:
        self.asked.append((method, request, current()))
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        response = answer if isinstance(answer, betterproto2.Message) else await answer()
        assert isinstance(response, kind)
        return response


class Auth(auth.AuthServiceBase):
    def __init__(self, script: Script) -> None:
        self.script = script

    async def register(self, message: auth.RegisterRequest) -> auth.RegisterResponse:
        return await self.script.play("register", message, auth.RegisterResponse)

    async def login(self, message: auth.LoginRequest) -> auth.LoginResponse:
        return await self.script.play("login", message, auth.LoginResponse)

    async def verify_email(self, message: auth.VerifyEmailRequest) -> auth.VerifyEmailResponse:
        return await self.script.play("verify_email", message, auth.VerifyEmailResponse)

    async def resend_verification(self, message: auth.ResendVerificationRequest) -> auth.ResendVerificationResponse:
        return await self.script.play("resend_verification", message, auth.ResendVerificationResponse)

    async def change_password(self, message: auth.ChangePasswordRequest) -> auth.ChangePasswordResponse:
        return await self.script.play("change_password", message, auth.ChangePasswordResponse)

    async def request_password_reset(
        self, message: auth.RequestPasswordResetRequest
    ) -> auth.RequestPasswordResetResponse:
        return await self.script.play("request_password_reset", message, auth.RequestPasswordResetResponse)

    async def reset_password(self, message: auth.ResetPasswordRequest) -> auth.ResetPasswordResponse:
        return await self.script.play("reset_password", message, auth.ResetPasswordResponse)

    async def get_registration(self, message: auth.GetRegistrationRequest) -> auth.GetRegistrationResponse:
        return await self.script.play("get_registration", message, auth.GetRegistrationResponse)

    async def request_email_change(self, message: auth.RequestEmailChangeRequest) -> auth.RequestEmailChangeResponse:
        return await self.script.play("request_email_change", message, auth.RequestEmailChangeResponse)

    async def delete_account(self, message: auth.DeleteAccountRequest) -> auth.DeleteAccountResponse:
        return await self.script.play("delete_account", message, auth.DeleteAccountResponse)

    async def begin_totp(self, message: auth.BeginTotpRequest) -> auth.BeginTotpResponse:
        return await self.script.play("begin_totp", message, auth.BeginTotpResponse)

    async def confirm_totp(self, message: auth.ConfirmTotpRequest) -> auth.ConfirmTotpResponse:
        return await self.script.play("confirm_totp", message, auth.ConfirmTotpResponse)

    async def end_totp(self, message: auth.EndTotpRequest) -> auth.EndTotpResponse:
        return await self.script.play("end_totp", message, auth.EndTotpResponse)

    async def request_data_export(self, message: auth.RequestDataExportRequest) -> auth.RequestDataExportResponse:
        return await self.script.play("request_data_export", message, auth.RequestDataExportResponse)

    async def list_data_exports(self, message: auth.ListDataExportsRequest) -> auth.ListDataExportsResponse:
        return await self.script.play("list_data_exports", message, auth.ListDataExportsResponse)

    async def open_data_export(self, message: auth.OpenDataExportRequest) -> auth.OpenDataExportResponse:
        return await self.script.play("open_data_export", message, auth.OpenDataExportResponse)

    async def read_data_export(self, message: auth.ReadDataExportRequest) -> auth.ReadDataExportResponse:
        return await self.script.play("read_data_export", message, auth.ReadDataExportResponse)

    async def list_failed_logins(self, message: auth.ListFailedLoginsRequest) -> auth.ListFailedLoginsResponse:
        return await self.script.play("list_failed_logins", message, auth.ListFailedLoginsResponse)

    async def get_user(self, message: auth.GetUserRequest) -> auth.GetUserResponse:
        return await self.script.play("get_user", message, auth.GetUserResponse)


class Session(session.SessionServiceBase):
    def __init__(self, script: Script) -> None:
        self.script = script

    async def refresh_session(self, message: session.RefreshSessionRequest) -> session.RefreshSessionResponse:
        return await self.script.play("refresh_session", message, session.RefreshSessionResponse)

    async def revoke_session(self, message: session.RevokeSessionRequest) -> session.RevokeSessionResponse:
        return await self.script.play("revoke_session", message, session.RevokeSessionResponse)

    async def validate_session(self, message: session.ValidateSessionRequest) -> session.ValidateSessionResponse:
        return await self.script.play("validate_session", message, session.ValidateSessionResponse)

    async def list_history(self, message: session.ListHistoryRequest) -> session.ListHistoryResponse:
        return await self.script.play("list_history", message, session.ListHistoryResponse)

    async def list_sessions(self, message: session.ListSessionsRequest) -> session.ListSessionsResponse:
        return await self.script.play("list_sessions", message, session.ListSessionsResponse)


class Profile(profile.ProfileServiceBase):
    def __init__(self, script: Script) -> None:
        self.script = script

    async def get_own_profile(self, message: profile.GetOwnProfileRequest) -> profile.GetOwnProfileResponse:
        return await self.script.play("get_own_profile", message, profile.GetOwnProfileResponse)

    async def get_profile(self, message: profile.GetProfileRequest) -> profile.GetProfileResponse:
        return await self.script.play("get_profile", message, profile.GetProfileResponse)

    async def find_hidden(self, message: profile.FindHiddenRequest) -> profile.FindHiddenResponse:
        if "find_hidden" not in self.script.answers:
            # Asked for everybody who connects.
            return profile.FindHiddenResponse()
        return await self.script.play("find_hidden", message, profile.FindHiddenResponse)

    async def update_profile(self, message: profile.UpdateProfileRequest) -> profile.UpdateProfileResponse:
        return await self.script.play("update_profile", message, profile.UpdateProfileResponse)

    async def search_profiles(self, message: profile.SearchProfilesRequest) -> profile.SearchProfilesResponse:
        return await self.script.play("search_profiles", message, profile.SearchProfilesResponse)


class Notary(notary.NotaryServiceBase):
    def __init__(self, script: Script) -> None:
        self.script = script

    async def latest_heads(self, message: notary.LatestHeadsRequest) -> notary.LatestHeadsResponse:
        return await self.script.play("latest_heads", message, notary.LatestHeadsResponse)


class Contact(contact.ContactServiceBase):
    def __init__(self, script: Script) -> None:
        self.script = script

    async def add_friend(self, message: contact.AddFriendRequest) -> contact.AddFriendResponse:
        return await self.script.play("add_friend", message, contact.AddFriendResponse)

    async def remove_friend(self, message: contact.RemoveFriendRequest) -> contact.RemoveFriendResponse:
        return await self.script.play("remove_friend", message, contact.RemoveFriendResponse)

    async def get_friends(self, message: contact.GetFriendsRequest) -> contact.GetFriendsResponse:
        return await self.script.play("get_friends", message, contact.GetFriendsResponse)

    async def is_friend(self, message: contact.IsFriendRequest) -> contact.IsFriendResponse:
        return await self.script.play("is_friend", message, contact.IsFriendResponse)

    async def report_user(self, message: contact.ReportUserRequest) -> contact.ReportUserResponse:
        return await self.script.play("report_user", message, contact.ReportUserResponse)

    async def list_filed_reports(self, message: contact.ListFiledReportsRequest) -> contact.ListFiledReportsResponse:
        return await self.script.play("list_filed_reports", message, contact.ListFiledReportsResponse)

    async def block_user(self, message: contact.BlockUserRequest) -> contact.BlockUserResponse:
        return await self.script.play("block_user", message, contact.BlockUserResponse)

    async def unblock_user(self, message: contact.UnblockUserRequest) -> contact.UnblockUserResponse:
        return await self.script.play("unblock_user", message, contact.UnblockUserResponse)

    async def list_blocked(self, message: contact.ListBlockedRequest) -> contact.ListBlockedResponse:
        return await self.script.play("list_blocked", message, contact.ListBlockedResponse)


class Messaging(messaging.MessagingServiceBase):
    def __init__(self, script: Script) -> None:
        self.script = script

    async def send_message(self, message: messaging.SendMessageRequest) -> messaging.SendMessageResponse:
        return await self.script.play("send_message", message, messaging.SendMessageResponse)

    async def get_messages(self, message: messaging.GetMessagesRequest) -> messaging.GetMessagesResponse:
        return await self.script.play("get_messages", message, messaging.GetMessagesResponse)

    async def mark_seen(self, message: messaging.MarkSeenRequest) -> messaging.MarkSeenResponse:
        return await self.script.play("mark_seen", message, messaging.MarkSeenResponse)

    async def update_conversation(
        self, message: messaging.UpdateConversationRequest
    ) -> messaging.UpdateConversationResponse:
        return await self.script.play("update_conversation", message, messaging.UpdateConversationResponse)

    async def search_messages(self, message: messaging.SearchMessagesRequest) -> messaging.SearchMessagesResponse:
        return await self.script.play("search_messages", message, messaging.SearchMessagesResponse)

    async def list_conversations(
        self, message: messaging.ListConversationsRequest
    ) -> messaging.ListConversationsResponse:
        return await self.script.play("list_conversations", message, messaging.ListConversationsResponse)

    async def count_unread_conversations(
        self, message: messaging.CountUnreadConversationsRequest
    ) -> messaging.CountUnreadConversationsResponse:
        return await self.script.play("count_unread", message, messaging.CountUnreadConversationsResponse)

    async def mark_notifications_read(
        self, message: messaging.MarkNotificationsReadRequest
    ) -> messaging.MarkNotificationsReadResponse:
        return await self.script.play("mark_read", message, messaging.MarkNotificationsReadResponse)

    async def get_quotes(self, message: messaging.GetQuotesRequest) -> messaging.GetQuotesResponse:
        return await self.script.play("get_quotes", message, messaging.GetQuotesResponse)

    async def list_mutes(self, message: messaging.ListMutesRequest) -> messaging.ListMutesResponse:
        return messaging.ListMutesResponse()

    async def list_notifications(
        self, message: messaging.ListNotificationsRequest
    ) -> messaging.ListNotificationsResponse:
        return await self.script.play("list_notifications", message, messaging.ListNotificationsResponse)

    async def list_closed_messages(
        self, message: messaging.ListClosedMessagesRequest
    ) -> messaging.ListClosedMessagesResponse:
        return await self.script.play("list_closed_messages", message, messaging.ListClosedMessagesResponse)


class ProfileRest:
    """The REST server of the profile service, with one scripted answer for all profiles."""

    def __init__(self) -> None:
        self.answer = Response(b"{}")
        self.asked: list[Request] = []
        self.app = Starlette(routes=[Route("/profiles/{user_id}", self._get)])

    async def _get(self, request: Request) -> Response:
        self.asked.append(request)
        return self.answer
