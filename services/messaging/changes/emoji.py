"""Single emoji, as Unicode lists them."""

from emoji import EMOJI_DATA, STATUS

# Asks for the form in colour. Keyboards add it or leave it out; the emoji is the same.
_VARIATION_SELECTOR = "\ufe0f"
_QUALIFIED = {
    emoji.replace(_VARIATION_SELECTOR, ""): emoji
    for emoji, data in EMOJI_DATA.items()
    if data["status"] == STATUS["fully_qualified"]
}


def qualified_emoji(text: str) -> str | None:
    """Returns the emoji in its fully qualified form, the same for each spelling; None if the text is no single emoji.

    The emoji are those that Unicode recommends for interchange, with their sequences: skin tones, flags, keycaps, and
    several joined into one. A component alone (a skin tone, half of a flag) is none.
    """
    return _QUALIFIED.get(text.replace(_VARIATION_SELECTOR, ""))
