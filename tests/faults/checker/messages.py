"""Messages: none is lost, doubled, reordered, gapped or invented, and both people read the same."""

from collections import Counter
from collections.abc import Iterator

from tests.faults.checker.conversations import by_pair, final, final_messages, sendings
from tests.faults.checker.finding import Bounds, Finding
from tests.faults.history import History, Message

# The check of a conversation that nobody read at the end, so that nothing is known of its messages.
UNREAD = "messages.unread"


def lost(history: History, _: Bounds) -> Iterator[Finding]:
    """Every acknowledged message is in the conversations of both, as it was acknowledged."""
    conversations = final(history)
    for pair, sent in by_pair(history).items():
        acknowledged = [(sending, answer) for sending in sent for answer in sending.acknowledged]
        readers = conversations.get(pair, [])
        if acknowledged and len({conversation.reader for conversation in readers}) < len(pair):
            yield Finding(UNREAD, f"the conversation of {' and '.join(sorted(pair))} was not read at the end")
        for conversation in readers:
            stored = set(conversation.messages)
            for sending, attempt in acknowledged:
                answer = attempt.answer
                message = Message(answer["message_id"], answer["sequence"], sending.sender_id, sending.text)
                if message not in stored:
                    yield Finding(
                        "messages.lost",
                        f"{sending} was acknowledged as {message.sequence}, {message.message_id},"
                        f" and {conversation.reader} does not read it so",
                        attempt.ended,
                    )


def doubled(history: History, _: Bounds) -> Iterator[Finding]:
    """A message that is repeated with its client_message_id is stored once and answered the same."""
    for sending in sendings(history):
        answers = {(attempt.answer["message_id"], attempt.answer["sequence"]) for attempt in sending.acknowledged}
        if len(answers) > 1:
            yield Finding("messages.doubled", f"{sending} was answered as {sorted(answers)}", sending.begun)
    for conversation, messages in final_messages(history):
        texts = Counter((message.sender_id, message.text) for message in messages)
        ids = Counter(message.message_id for message in messages)
        for (sender, text), count in texts.items():
            if count > 1:
                yield Finding("messages.doubled", f"{conversation.reader} reads '{text}' of {sender} {count} times")
        for message_id, count in ids.items():
            if count > 1:
                yield Finding("messages.doubled", f"{conversation.reader} reads the id {message_id} {count} times")


def reordered(history: History, _: Bounds) -> Iterator[Finding]:
    """A message that was begun after another one was acknowledged comes after it."""
    for pair, sent in by_pair(history).items():
        ends = sorted(
            (attempt.ended, int(attempt.answer["sequence"])) for sending in sent for attempt in sending.acknowledged
        )
        last, index = 0, 0
        for sending in sorted(sent, key=lambda sending: sending.begun):
            while index < len(ends) and ends[index][0] < sending.begun:
                last = max(last, ends[index][1])
                index += 1
            for attempt in sending.acknowledged:
                if attempt.answer["sequence"] <= last:
                    yield Finding(
                        "messages.reordered",
                        f"{sending} has the sequence {attempt.answer['sequence']} in the conversation of"
                        f" {' and '.join(sorted(pair))}; {last} was acknowledged before it was sent",
                        sending.begun,
                    )


def gapped(history: History, _: Bounds) -> Iterator[Finding]:
    """The sequences of a conversation are 1, 2, 3 and so on."""
    for conversation, messages in final_messages(history):
        sequences = [message.sequence for message in messages]
        if sequences != list(range(1, len(sequences) + 1)):
            whole = set(range(1, max(sequences) + 1))
            missing, repeated = sorted(whole - set(sequences)), len(sequences) - len(set(sequences))
            yield Finding(
                "messages.gapped",
                f"{conversation.reader} with {conversation.other}: missing {missing[:20]}, {repeated} repeated",
            )


def different(history: History, _: Bounds) -> Iterator[Finding]:
    """The two people read the same conversation."""
    for pair, conversations in final(history).items():
        contents = [
            sorted(conversation.messages, key=lambda message: message.sequence) for conversation in conversations
        ]
        for content in contents[1:]:
            if content != contents[0]:
                some = sorted(set(content) ^ set(contents[0]), key=lambda message: message.sequence)[:5]
                yield Finding("messages.different", f"{' and '.join(sorted(pair))} read different things: {some}")


def invented(history: History, _: Bounds) -> Iterator[Finding]:
    """What is stored was sent, and was not refused."""
    sent = {(sending.sender_id, sending.text): sending for sending in sendings(history)}
    for conversation, messages in final_messages(history):
        for message in messages:
            sending = sent.get((message.sender_id, message.text))
            if sending is None:
                yield Finding("messages.invented", f"{conversation.reader} reads what was never sent: {message}")
            elif sending.is_refused:
                text = f"{sending} was refused, and {conversation.reader} reads it"
                yield Finding("messages.invented", text, sending.begun)
