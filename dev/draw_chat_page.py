"""Take assets/chat_page.png, the READMEs' picture of the page: `python dev/draw_chat_page.py`.

The page of `kotune serve` with what the repository ships is asked, in a browser of its own, to put an advertisement of the
listings' test set into a record, base and tuned side by side, by name; then the same on a phone, voted on.
"""

import io
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from kotune import data
from tests.support.serving import CHROMIUM, ServerProcess
from utils import ASSETS

ADVERTISEMENT = "listing-test-013"  # one of the 159 of 200 that the tuned model reads right
GAP, BACKGROUND = 24, "#cbd5e1"
SECONDS = 180_000  # in milliseconds, as the browser counts: a slow machine answers too


def main() -> None:
    """Write the picture."""
    advert = next(row["input"] for row in data.load_rows("listings_test") if row["id"] == ADVERTISEMENT)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        served = ServerProcess(Path(folder) / "log.txt")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            pictures = [
                voted(browser.new_page(locale="ko-KR", viewport={"width": 1180, "height": 900}), served.url, advert),
                voted(browser.new_page(locale="ko-KR", viewport={"width": 400, "height": 900}), served.url, advert),
            ]
        finally:
            browser.close()
            served.close()
    whole = Image.new("RGB", (sum(one.width for one in pictures) + GAP, pictures[0].height), BACKGROUND)
    whole.paste(pictures[0], (0, 0))
    whole.paste(pictures[1], (pictures[0].width + GAP, 0))
    whole.quantize(128).save(ASSETS / "chat_page.png", optimize=True)


def voted(page: Page, url: str, advert: str) -> Image.Image:
    """Return the page after an advertisement was read by both models and voted on."""
    page.set_default_timeout(SECONDS)
    page.goto(url)
    page.wait_for_selector("#chat-input")
    page.locator("#chat-profiles").click()
    page.get_by_role("option", name="매물 정리: 나란히 비교").click()
    page.wait_for_timeout(1000)
    page.locator("#chat-input").click()
    page.keyboard.insert_text(advert)
    page.keyboard.press("Enter")
    page.get_by_text("어느 답변이 더 낫습니까?").first.wait_for()
    page.get_by_role("button", name="A가 낫다").click()
    page.get_by_text("저장했습니다.").first.wait_for()
    page.wait_for_timeout(1500)
    return Image.open(io.BytesIO(page.screenshot()))


if __name__ == "__main__":
    main()
