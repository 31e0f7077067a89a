"""The example projections as a stranger installs them, word for word: tested, filled, rebuilt, verified and read."""

import asyncio

import httpx

from tests.e2e.people import Api, eventually
from tests.e2e.test_projection_tutorial import BLOCK, copied, run
from tests.fix_system import ROOT, System

__all__ = ["copied"]
EXAMPLES = ROOT / "docs" / "examples" / "projections"


async def test_the_examples_are_installed_tested_filled_rebuilt_verified_and_read(copied: System) -> None:
    blocks = [block for _, block in BLOCK.findall((EXAMPLES / "README.md").read_text(encoding="utf-8"))]
    assert len(blocks) == 6
    *install, test, rebuild, read = blocks
    for block in install:
        await asyncio.to_thread(run, copied, block)
    tested = await asyncio.to_thread(run, copied, test.replace(".py\n", ".py -n 0 -q\n"))
    assert tested.count("2 passed") == 3
    for check in ("mypy", "ruff check", "ruff format --check", "./just test tests/unit/test_architecture.py -n 0 -q"):
        await asyncio.to_thread(run, copied, check)
    await asyncio.to_thread(copied.start)
    async with httpx.AsyncClient(base_url=copied.url, timeout=30) as http:
        api = Api(copied, http)
        anna, boris = await api.friends()
        clara = await api.person()
        await api.befriend(clara, boris)
        await anna.sends(boris, "Hi")
        await boris.sends(anna, "Hi")

        async def shown() -> bool:
            answers = (await asyncio.to_thread(run, copied, f"TOKEN={anna.access_token}\n{read}")).split("}]", 3)
            texts = [f"{answer}}}]" for answer in answers[:3]]
            return len(answers) == 4 and all('"items":[{' in text for text in texts)

        await eventually(shown, "rows in all three", within=60)
        (mutual,) = (await anna.get("/v1/mutual-friends")).json()["items"]
        assert mutual == {"user_id": clara.user_id, "friends": 1}
        (streak,) = (await anna.get("/v1/streaks")).json()["items"]
        assert (streak["user_id"], streak["longest"], streak["holds_record"]) == (boris.user_id, 1, True)
        (first,) = (await anna.get("/v1/first-messages")).json()["items"]
        assert first["user_id"] == boris.user_id
        assert 0 <= first["seconds"] < 600
        # Fails if a row differs.
        await asyncio.to_thread(run, copied, rebuild)
        after = [(await anna.get(f"/v1/{path}")).json()["items"] for path in ("mutual-friends", "streaks")]
        assert after == [[mutual], [streak]]
