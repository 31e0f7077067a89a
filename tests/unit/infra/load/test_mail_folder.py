import asyncio
from email.message import EmailMessage
from pathlib import Path

from infra.load.mail_folder import Mailbox


def post(directory: Path, address: str, token: str) -> None:
    message = EmailMessage()
    message["From"] = "Vestnik <no-reply@localhost>"
    message["To"] = f"Anna Пример <{address}>"
    message.set_content(f"Hello, żółw!\n\nToken: {token}\n\nBye.\n")
    directory.mkdir(exist_ok=True)
    (directory / f"{token[:20]}.eml").write_bytes(message.as_bytes())


async def test_the_token_of_an_address_is_found_however_the_mail_is_encoded(tmp_path: Path) -> None:
    token = "eyJ=" + "x" * 200
    post(tmp_path, "anna@example.org", token)
    post(tmp_path, "boris@example.org", "other")
    assert await Mailbox(tmp_path).token("Anna@example.org", timeout=0) == token


async def test_a_mail_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "mail")
    waiting = asyncio.create_task(mailbox.token("anna@example.org", timeout=10))
    await asyncio.sleep(0)
    post(tmp_path / "mail", "anna@example.org", "late")
    assert await waiting == "late"


async def test_no_mail_in_time_is_no_token(tmp_path: Path) -> None:
    post(tmp_path, "anna@example.org", "known")
    mailbox = Mailbox(tmp_path)
    assert await mailbox.token("boris@example.org", timeout=0) is None
    assert await mailbox.token("anna@example.org", timeout=0, other_than=frozenset({"known"})) is None


async def test_a_file_that_was_read_half_written_is_read_again(tmp_path: Path) -> None:
    post(tmp_path, "anna@example.org", "whole")
    complete = (tmp_path / "whole.eml").read_bytes()
    (tmp_path / "whole.eml").write_bytes(complete[:60])
    mailbox = Mailbox(tmp_path)
    assert await mailbox.token("anna@example.org", timeout=0) is None
    (tmp_path / "whole.eml").write_bytes(complete)
    assert await mailbox.token("anna@example.org", timeout=5) == "whole"
