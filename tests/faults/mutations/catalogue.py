"""The mutations, each with the scenario that shows it and the checks that must find it."""

from tests.faults.mutations import scenarios
from tests.faults.mutations.mutation import Edit, Mutation

_MOVE_CHECKPOINT = "                await moved.execute(MOVE_CHECKPOINT, moves[0])\n"
_THEN_COMMIT = """\
                await cursor.execute("COMMIT")
                await pipeline.sync()
                await asyncio.sleep(0.2)
                await cursor.execute("BEGIN")
"""

MUTATIONS = (
    Mutation(
        name="append-without-condition",
        fault="an append names no expected sequence, so that of two writers both are right",
        edits=(
            Edit(
                "streams/appending/sender.py", "        if conditional:\n", "        if conditional and not append:\n"
            ),
        ),
        scenario=scenarios.QUIET_REGISTRATIONS,
        caught_by=("accounts.shared_usernames",),
    ),
    Mutation(
        name="acknowledged-before-stored",
        fault="a message is answered before the store has acknowledged it",
        edits=(
            Edit(
                "services/messaging/commands.py",
                "            for turn, stored in zip(staged.values(), await editing.store(), strict=True):\n",
                """\
            for turn, (append, event) in zip(staged.values(), editing._staged, strict=True):
                assert isinstance(event, MessageSent)
                turn.answer((sent(event, append.envelope.at, before + 1), True))
            for turn, stored in zip(staged.values(), await editing.store(), strict=True):
""",
            ),
            Edit(
                "services/messaging/commands.py",
                "from contracts.messages import Quote\n",
                "from contracts.events.message import MessageSent\nfrom contracts.messages import Quote\n",
            ),
            Edit("services/messaging/commands.py", "    evolve_read_mark,\n", "    evolve_read_mark,\n    sent,\n"),
            Edit(
                "streams/batching/flat_combining.py",
                "            await self._work(key, (turn,))\n        finally:\n            self._start_next(key)\n",
                "            work = asyncio.create_task(self._run_batch(key, (turn,)))\n"
                "            self._tasks.add(work)\n"
                "            await turn.wait()\n"
                "        finally:\n            pass\n",
            ),
        ),
        scenario=scenarios.STORE_HANGS,
        caught_by=("messages.lost",),
    ),
    Mutation(
        name="look-up-skipped",
        fault="a repeated message is looked up in memory alone, which a new process has not",
        edits=(
            Edit(
                "services/messaging/deduplication/deduplicator.py",
                "        return await self._query_read_model(conversation_id, until, tail, command)\n",
                "        return None\n",
            ),
            Edit(
                "services/messaging/deduplication/deduplicator.py",
                "            tail = await self._load_ids(conversation_id, tail, until, length) or tail\n",
                "            pass\n",
            ),
        ),
        scenario=scenarios.ANSWERS_LOST,
        caught_by=("messages.doubled",),
    ),
    Mutation(
        name="message-ids-dropped",
        fault="every client_message_id counts as new",
        edits=(
            Edit(
                "services/messaging/deduplication/deduplicator.py",
                "        if not until:\n            return True\n        tail =",
                "        if not until or conversation_id:\n            return True\n        tail =",
            ),
        ),
        scenario=scenarios.ANSWERS_LOST,
        caught_by=("messages.doubled",),
    ),
    Mutation(
        name="friendship-cache-kept",
        fault="messaging does not hear of removed friendships, and believes its cache",
        edits=(
            Edit(
                "services/messaging/reactions.py",
                "                if envelope.type == FriendshipRemoved.TYPE:\n",
                "                if envelope.type == FriendshipRemoved.TYPE + '.':\n",
            ),
        ),
        scenario=scenarios.QUIET_FRIENDSHIP,
        caught_by=("access.after_removal",),
    ),
    Mutation(
        name="page-cache-believed",
        fault="a cached page is served without asking whether it is current",
        edits=(
            Edit(
                "services/messaging/pages/newest_page_cache.py",
                "        return page if page is not None and page.changed == changed else None\n",
                "        return page\n",
            ),
        ),
        scenario=scenarios.QUIET_CONVERSATION,
        caught_by=("reads.stale",),
    ),
    Mutation(
        name="positions-ignored",
        fault="a read with a position does not wait for it",
        edits=(
            Edit(
                "projections/engine/waiting/position_waiter.py",
                "        if room.has(position):\n            return\n",
                "        if room.has(position) or timeout:\n            return\n",
            ),
        ),
        scenario=scenarios.QUIET_CONVERSATION,
        caught_by=("reads.stale",),
    ),
    Mutation(
        name="checkpoint-outside-transaction",
        fault="the checkpoint is committed before the rows",
        edits=(
            Edit(
                "projections/engine/apply/writing/batch_transaction.py",
                _MOVE_CHECKPOINT,
                _MOVE_CHECKPOINT + _THEN_COMMIT,
            ),
        ),
        scenario=scenarios.MESSAGING_KILLED,
        caught_by=("read_models.unequal", "messages.lost"),
    ),
    Mutation(
        name="reader-resumes-late",
        fault="after a lost connection a reader goes on one event too late",
        edits=(
            Edit(
                "streams/reader.py",
                """                await self._drop()
            except Closed as closed:
""",
                """                await self._drop()
                self._position += 1
            except Closed as closed:
""",
            ),
            # Otherwise a reader that has all events of the stream notices that it goes on after its end.
            Edit(
                "streams/reader.py",
                "        if self._end < self._position:\n            raise StreamWentBack(",
                "        if self._end + 1 < self._position:\n            raise StreamWentBack(",
            ),
        ),
        scenario=scenarios.STORE_KILLED,
        caught_by=("read_models.unequal", "live.missed", "messages.lost"),
    ),
    Mutation(
        name="resume-begins-late",
        fault="a live connection resumes one event too late",
        edits=(
            Edit(
                "services/gateway/live/replay_buffer.py",
                "            if event.sequence <= sequence:\n",
                "            if event.sequence <= sequence + 1:\n",
            ),
        ),
        scenario=scenarios.GATEWAYS_KILLED,
        caught_by=("live.missed",),
    ),
    Mutation(
        name="resume-begins-early",
        fault="a live connection resumes with the last event that was received",
        edits=(
            Edit(
                "services/gateway/live/replay_buffer.py",
                "            if event.sequence <= sequence:\n",
                "            if event.sequence < sequence:\n",
            ),
        ),
        scenario=scenarios.GATEWAY_KILLED,
        caught_by=("live.doubled",),
    ),
    Mutation(
        name="revocations-not-heard",
        fault="a gateway does not hear of revoked sessions",
        edits=(
            Edit(
                "services/gateway/security/revocations.py",
                "            if envelope.type != SessionRevoked.TYPE:\n",
                "            if envelope.type:\n",
            ),
        ),
        scenario=scenarios.QUIET_SESSIONS,
        caught_by=("sessions.good_after_revocation",),
    ),
    Mutation(
        name="refresh-reuse-unnoticed",
        fault="a spent refresh token is accepted again",
        edits=(
            Edit(
                "services/session/domain.py",
                "    return (SessionRevoked(user_id=state.user_id, reason=REUSED),)\n",
                "    return ()\n",
            ),
        ),
        scenario=scenarios.QUIET_SESSIONS,
        caught_by=("sessions.reuse_unnoticed",),
    ),
    Mutation(
        name="verification-not-applied",
        fault="an address stays free after it was verified",
        edits=(
            Edit(
                "services/auth/registration/decisions.py",
                "        case EmailVerified() | PasswordResetRequested() if event.address is not None:\n",
                "        case PasswordResetRequested() if event.address is not None:\n",
            ),
            Edit(
                "services/auth/registration/decisions.py",
                "        case EmailVerified():\n            return owned(",
                "        case EmailVerified():\n            return state\n            return owned(",
            ),
        ),
        scenario=scenarios.QUIET_REGISTRATIONS,
        caught_by=("accounts.shared_addresses",),
    ),
    Mutation(
        name="usernames-shared",
        fault="a username that is reserved is given again",
        edits=(
            Edit(
                "services/auth/registration/decisions.py",
                "        if name.confirmed or holder_verified or now < end:\n",
                "        if name.confirmed or holder_verified:\n",
            ),
        ),
        scenario=scenarios.QUIET_REGISTRATIONS,
        caught_by=("accounts.shared_usernames",),
    ),
    Mutation(
        name="mails-given-up",
        fault="a mail that could not be handed over is not tried again",
        edits=(
            Edit(
                "services/auth/reactions.py",
                "                failure = error\n",
                "                failure = error if isinstance(error, _BudgetUsedUp) else None\n",
            ),
        ),
        scenario=scenarios.MAILS_REFUSED,
        caught_by=("accounts.mails_never_sent",),
    ),
    Mutation(
        name="outage-as-internal-error",
        fault="a service that is away is answered with 500",
        edits=(
            Edit(
                "infra/rpc/client.py",
                "                failure = Unavailable()  # connection refused: the call was never sent\n",
                "                failure = VestnikError('Something went wrong.')\n",
            ),
        ),
        scenario=scenarios.CONTACT_KILLED,
        caught_by=("answers.wrong_status",),
    ),
    Mutation(
        name="no-retry-after",
        fault="an answer to an outage does not say when to try again",
        edits=(
            Edit(
                "services/gateway/http/problems.py",
                "    if error.retry_after is not None:\n        fields[",
                "    if error.retry_after is not None and not error.status:\n        fields[",
            ),
            Edit(
                "services/gateway/http/problems.py",
                "    elif error.status in WORTH_RETRYING:\n",
                "    elif error.status in ():\n",
            ),
        ),
        scenario=scenarios.CONTACT_KILLED,
        caught_by=("answers.without_retry_after",),
    ),
    Mutation(
        name="process-not-restarted",
        fault="a process that has ended is not started again",
        edits=(
            Edit(
                "infra/supervisor/supervised_process.py",
                "            pause = backoff.after(",
                "            if self._was_ready:\n                return\n            pause = backoff.after(",
            ),
        ),
        scenario=scenarios.CONTACT_KILLED,
        caught_by=("processes.not_back",),
    ),
    Mutation(
        name="files-kept-open",
        fault="each message leaves two files open",
        edits=(
            Edit(
                "services/messaging/commands.py",
                "        message, created = await self._sends.submit(",
                "        _OPEN.extend((open('/dev/null'), open('/dev/null')))\n"
                "        message, created = await self._sends.submit(",
            ),
            Edit("services/messaging/commands.py", "TRIES = 20\n", "TRIES = 20\n_OPEN = []\n"),
        ),
        scenario=scenarios.MANY_MESSAGES,
        caught_by=("processes.growing",),
    ),
)
BY_NAME = {mutation.name: mutation for mutation in MUTATIONS}
