"""Page and report in a real browser: what a person sees, and that nothing else is asked or run."""

import json
import shutil
from functools import partial
from urllib.parse import urlsplit

import cv2
import pytest
from toy_server import serving, until

from lineup.report.page import write_report
from lineup.report.rows import row_from_record
from lineup.serve.keys import KEYS, make_key

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra [dev])")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

QUIET = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync")
DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, { type: "image/png" }));
  document.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, cancelable: true }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: carried }));
}"""
ORIGIN = {"statement": "The file declares: made with X.", "disagreement": "X here, reds there"}
EVIL = "<img src=x onerror=alert(1)>.png"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        args = [f"--{name}" for name in (*QUIET, "disable-background-networking")]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=args)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page; in the end nothing was wrong in it, and it asked nobody but its server."""
    page = browser.new_page(color_scheme="dark")
    page.set_default_timeout(60_000)  # a busy machine is slow, not wrong
    wrong, hosts = [], set()
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message) or dialog.dismiss())
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    yield page
    page.close()
    assert wrong == []
    assert hosts <= {"127.0.0.1", None, ""}


@pytest.fixture
def server(colour_engine, tmp_path):
    """Serve with keys, or without; yields the client, and the key of who may enrol."""
    from lineup.engine import open_engine

    path = tmp_path / "keys.json"
    key = make_key(path, "curator", may_enroll=True)
    keys = KEYS.read(path)
    with serving(partial(open_engine, gallery=tmp_path / "gallery"), keys=keys) as client:
        until(lambda: client.get("/readyz").status == 200)
        yield client, key


def is_dark(page):
    paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    return max(int(part) for part in paper.strip("rgb()").split(",")) < 60


def test_a_dropped_or_pasted_picture_is_answered_and_a_folder_enrolled(
    page, server, red_image, tmp_path
):
    import base64

    client, key = server
    folder = tmp_path / "folder"
    folder.mkdir()
    for index in range(2):
        cv2.imwrite(str(folder / f"{index}.png"), cv2.imread(str(red_image)) // (index + 1))
    (folder / "notes.txt").write_text("no picture")
    page.goto(f"http://127.0.0.1:{client.port}/")
    data = base64.b64encode(red_image.read_bytes()).decode()

    page.evaluate(DROP, [data, EVIL])
    assert page.get_by_role("status").first.inner_text().startswith("Enter the key")
    page.get_by_label("Key for this server").fill(key)
    page.evaluate(DROP, [data, EVIL])
    page.get_by_text("2 pictures answered.").wait_for()

    assert is_dark(page)
    entry = page.locator(".entry").first
    assert entry.locator(".sentence").inner_text().startswith("Most likely made by reds (")
    assert entry.locator(".path").inner_text() == EVIL
    assert entry.locator(".picture img").evaluate("image => image.naturalWidth") == 32
    assert entry.locator(".bars .name").first.inner_text() == "reds"
    page.get_by_label("Name of the source").fill("greens")
    page.get_by_label("Folder of its pictures").set_input_files(folder)
    page.get_by_role("button", name="Enrol").click()
    page.get_by_text("greens: 2 added, 0 known before.").wait_for()
    assert page.locator("#sources tr").count() == 3


def test_the_page_is_used_by_keyboard_alone(page, server, red_image, tmp_path):
    client, key = server
    broken = tmp_path / "broken.png"
    broken.write_bytes(red_image.read_bytes()[:60])
    choosers = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # noqa: PLW0108 - it marks what it calls
    page.goto(f"http://127.0.0.1:{client.port}/")
    for _ in range(6):  # past the five links of the head
        page.keyboard.press("Tab")
    page.keyboard.type(key)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    until(lambda: choosers or page.wait_for_timeout(20))
    choosers[0].set_files([broken, red_image])
    page.get_by_text("2 pictures answered.").wait_for()

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator(".entry details[open] table").count() == 1
    assert page.locator(".entry .warning").inner_text().startswith("Failed. UnreadableImageError")


def row(number):
    named, rest = ("reds", "blues") if number % 3 else ("blues", "reds")
    share = number / 100
    return {
        "path": EVIL if number == 7 else f"{number:02d}.png",
        "sha256": f"{number:064d}",
        "verdict": named,
        "posterior": {named: share, rest: 1 - share, "generated": 0.0, "photograph": 0.0},
        "evidence": {"fingerprint": {"scores": {"reds": 1.5}, "llr": {"reds": -0.5}}},
        "origin": ORIGIN if number == 8 else None,
        "error": None,
        "ms": {},
    }


@pytest.fixture
def report(tmp_path, page):
    path = tmp_path / "report.html"
    write_report([row_from_record(json.loads(json.dumps(row(n)))) for n in range(60)], path)
    page.goto(path.as_uri())
    page.get_by_text("Images 1 to 25 of 60").wait_for()
    return page


def test_the_report_is_paged_searched_filtered_and_ordered(report):
    paths = report.locator(".entry .path")
    status = report.locator("#shown")

    report.get_by_role("button", name="Last").click()
    assert paths.all_inner_texts() == [f"{n}.png" for n in range(50, 60)]
    assert report.get_by_role("button", name="Next").is_disabled()
    report.get_by_label("Answer", exact=True).select_option("blues")
    assert status.inner_text() == "Images 1 to 20 of 20, chosen from 60"
    report.get_by_label("Order", exact=True).select_option("probability, highest first")
    assert paths.first.inner_text() == "57.png"
    report.get_by_label("Answer", exact=True).select_option("all")
    report.get_by_label("Search").fill("ONERROR")
    assert paths.all_inner_texts() == [EVIL]
    report.get_by_label("Search").fill("declares")
    report.get_by_label("Answer", exact=True).select_option("declared and seen disagree")
    assert "They disagree: X here, reds there." in report.locator(".entry").inner_text()
    report.get_by_label("Search").fill("nowhere")
    assert status.inner_text() == "No image matches."


def test_the_report_is_dark_or_prints_black_on_white(report):
    assert is_dark(report)
    report.emulate_media(media="print")
    assert not is_dark(report)
    assert not report.locator("#controls").is_visible()
    assert report.locator(".entry").count() == 25
