"""Load, decide, append: changes a reader's settings of a conversation, and saves their draft."""

from datetime import UTC, datetime

from contracts.subjects import settings
from contracts.values.ids import pair_id
from infra.rpc.call_context import Call
from services.messaging.clients import Friendships
from services.messaging.settings.domain import Settings, SettingsPatch, decide_settings, evolve_settings
from services.messaging.settings.drafts import Drafts
from streams.log import Log
from streams.repository import Repository


class SettingsCommands:
    def __init__(self, log: Log, friendships: Friendships, drafts: Drafts) -> None:
        self._friendships = friendships
        self._drafts = drafts
        self._settings: Repository[Settings] = Repository(
            log,
            subject=lambda key: settings(*key.split(".")),
            initial=Settings(),
            evolve=evolve_settings,
            tail_only=True,
        )

    async def update(
        self, user_id: str, peer_id: str, patch: SettingsPatch, call: Call, *, draft: str | None = None
    ) -> int:
        """Changes the user's settings of the conversation and then their draft, if there is one to save.

        Returns:
            The sequence of the settings' last event in MESSAGING.

        Raises:
            NotFriends: the conversation is closed to the user.
            Unavailable: it is unknown whether the draft was saved; the settings are changed.
        """
        await self._friendships.require_open_conversation(user_id, peer_id, call.position)
        conversation_id = pair_id(user_id, peer_id)
        outcome = await self._settings.execute(
            f"{conversation_id}.{user_id}",
            lambda state: decide_settings(
                state,
                patch,
                datetime.now(UTC),
                conversation_id=conversation_id,
                user_id=user_id,
                members=(user_id, peer_id),
            ),
            call.provenance(),
        )
        if draft is not None:
            await self._drafts.save(user_id, conversation_id, draft)
        return outcome.sequence

    async def remove_drafts(self, user_id: str) -> None:
        """Removes all drafts of the user. Repeatable.

        Raises:
            Unavailable: some may be left.
        """
        await self._drafts.remove_of(user_id)
