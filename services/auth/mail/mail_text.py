"""The shape of a mail's text."""

import msgspec

CIRCUMSTANCES = "{circumstances}"


class MailText(msgspec.Struct, frozen=True, kw_only=True):
    """The text of one kind of mail, in paragraphs.

    `{username}` and `{good_for}` are replaced by the account's username and its token's lifetime; in an alert about
    what is to happen, by the time until then.
    """

    subject: str
    # Above the link. `CIRCUMSTANCES` stands for the lines that say when and from where it happened.
    opening: tuple[str, ...]
    # Above each link if there are several.
    heading: str = ""
    # Label of the link.
    link: str
    # Between the link and the token.
    hint: str = ""
    closing: tuple[str, ...] = ()
