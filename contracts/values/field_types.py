"""Types of the fields of commands and requests, with the limits of the public interface."""

from typing import Annotated, Literal, get_args

from msgspec import Meta

from contracts.values import visible_text
from contracts.values.mail_addresses import folded_address

# Excluded are characters that would break a mail's headers or denote another address; letters of any script are valid.
_NOT_IN_ADDRESS = r"@\s\x00-\x1f\x7f<>()\[\],;:\\\""
_ADDRESS = f"[^{_NOT_IN_ADDRESS}]"

# Text without NUL, which PostgreSQL cannot store.
_NO_NUL = r"^[^\x00]*\Z"

Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=254,
        pattern=rf"^{_ADDRESS}{{1,64}}@(?:[^{_NOT_IN_ADDRESS}.]+\.)+[^{_NOT_IN_ADDRESS}.]+\Z",
        description="An e-mail address.",
        examples=["anna@example.org"],
    ),
]
Username = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=32,
        pattern=r"^[A-Za-z0-9_.]+\Z",
        description="Characters: a-z 0-9 _ . (case-insensitive; stored in lower case). Some names are reserved, "
        "such as `admin`.",
        examples=["anna"],
    ),
]
# At login: any password that may once have been set.
Password = Annotated[str, Meta(min_length=1, max_length=1024, pattern=_NO_NUL)]
# Limits in characters; the limit in bytes is checked where the password is used.
ChosenPassword = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=1024,
        pattern=_NO_NUL,
        description=(
            "8 characters to 1,024 bytes in UTF-8. One of the most common passwords, or one that contains the username"
            " or the e-mail address, is refused with `weak_password`."
        ),
    ),
]
DisplayName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=visible_text.NAME,
        description=(
            "At least one visible character; no control characters or characters that change the writing "
            "direction; stored in NFC."
        ),
        examples=["Anna"],
    ),
]
Bio = Annotated[
    str,
    Meta(
        max_length=500,
        pattern=visible_text.LINES,
        description=(
            "Empty, or text with at least one visible character; no control characters except line feeds, no "
            "characters that change the writing direction; stored in NFC."
        ),
        examples=["Writes."],
    ),
]
AvatarUrl = Annotated[
    str,
    Meta(
        max_length=500,
        pattern=r"^https://[^\s\x00-\x1f\x7f/?#]+[^\s\x00-\x1f\x7f]*\Z",
        examples=["https://example.org/a.png"],
    ),
]
Device = Annotated[str, Meta(max_length=100, pattern=_NO_NUL)]
Text = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=4000,
        pattern=visible_text.MESSAGE,
        description="Any Unicode except NUL, and not only white space; stored unchanged.",
        examples=["Hello"],
    ),
]
Draft = Annotated[str, Meta(max_length=4000, pattern=_NO_NUL, description="Any Unicode except NUL; empty: none.")]
LanguageCode = Literal["en", "ru"]
Language = Annotated[LanguageCode, Meta(description="Language of the account's mails: English or Russian.")]
# The default first.
LANGUAGES: tuple[LanguageCode, ...] = get_args(LanguageCode)
# Who sees when a user is online: their friends, or nobody.
PresenceCode = Literal["friends", "nobody"]
ReportReason = Literal["spam", "harassment", "violence", "sexual", "impersonation", "other"]
ReportComment = Annotated[str, Meta(max_length=1000, pattern=visible_text.LINES)]
ReportOutcome = Literal["upheld", "dismissed"]
ReportNote = Annotated[str, Meta(max_length=1000, pattern=visible_text.LINES)]
SearchText = Annotated[str, Meta(min_length=1, max_length=64, pattern=_NO_NUL)]
MessageQuery = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        pattern=_NO_NUL,
        description=(
            "Words that the text contains, all of them, in any order; their beginnings are enough. Case and accents "
            "are ignored, in any script, and forms of Russian and English words are found. Text of scripts without "
            "spaces between words, such as Chinese, Japanese and Thai, and emoji are found anywhere. Punctuation is "
            "ignored; a query without a letter, a digit or a symbol finds nothing."
        ),
        examples=["meeting tomorrow"],
    ),
]
# Further checked by services/messaging/changes/emoji.py.
EmojiText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=32,
        description="A single emoji, as Unicode lists them; stored in its fully qualified form.",
        examples=["\U0001f44d"],
    ),
]
ClientMessageId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]
Id = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z",
        examples=["01890a5d-ac96-774b-bcce-b302099a8057"],
    ),
]
# A sequence, bounded by what JSON numbers hold exactly.
Sequence = Annotated[int, Meta(ge=0, le=2**53 - 1)]
# Of a message; the first is 1.
MessageSequence = Annotated[int, Meta(ge=1, le=2**53 - 1)]
PageLimit = Annotated[int, Meta(ge=1, le=200)]

# Most messages whose texts are asked for in one request, to quote them.
MOST_QUOTES = 200
# Most messages of a report.
REPORTED_MESSAGES = 20
# Minimum and maximum.
PASSWORD_CHARACTERS, PASSWORD_BYTES = 8, 1024
PAGE_LIMIT = 50


def folded_login(text: str) -> str:
    """The folded form of an e-mail address or username: equal forms belong to one account.

    Counts and claims by address use this form, so that every spelling yields the same key.
    """
    return folded_address(text)
