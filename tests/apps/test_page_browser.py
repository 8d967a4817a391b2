"""The page in a real browser, Debian's Chromium, at the widths of a desk and of a telephone."""

import asyncio
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from page_client import Visitor, picture
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

SIZES = {"desk": {"width": 1200, "height": 1000}, "telephone": {"width": 390, "height": 844}}
PATIENCE = 60_000  # milliseconds; the first visit imports torch, perhaps beside a busy process


@pytest.fixture(scope="module")
def tabs(chromium):
    """A tab of each size. All tests share them, and with them the scripts that they have loaded."""
    pages = {name: chromium.new_page(viewport=size) for name, size in SIZES.items()}
    for page in pages.values():
        page.set_default_timeout(PATIENCE)
    yield pages
    for page in pages.values():
        page.close()


@pytest.fixture(params=["desk"])
def visit(request, tabs, server):
    """The page, visited anew. Nothing on it is wider than the window, and it asks nobody but this server."""
    tab, address, requested = tabs[request.param], f"http://127.0.0.1:{server.port}", []
    tab.on("request", note := lambda request: requested.append(request.url))
    tab.goto(address)
    tab.get_by_text("One picture, or many at once").wait_for()
    yield tab
    width = tab.viewport_size["width"]
    assert tab.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= width
    assert tab.locator("[data-testid=stException]").count() == 0
    elsewhere = [url for url in requested if not url.startswith((f"{address}/", "data:", "blob:"))]
    assert requested and elsewhere == []
    tab.remove_listener("request", note)


on_both_sizes = pytest.mark.parametrize("visit", SIZES, indirect=True)


def upload(page, files: dict[str, bytes]) -> None:
    payloads = [{"name": name, "mimeType": "image/png", "buffer": files[name]} for name in files]
    page.locator("input[type=file]").set_input_files(payloads)


def answer(page) -> str:
    page.locator(".answer").wait_for()
    return " ".join(page.locator(".answer").inner_text().split())


def settled_sheet(page):
    """The sheet to draw on, once it has stayed for a second: the page puts up others while it is built."""
    for _ in range(30):
        sheet = page.locator("canvas").last.element_handle()
        page.wait_for_timeout(1000)
        if sheet.evaluate("sheet => sheet.isConnected"):
            sheet.scroll_into_view_if_needed()
            return sheet
    raise AssertionError("the sheet is put up again and again")


def draw_a_seven(page) -> None:
    page.get_by_text("Draw", exact=True).click()
    page.get_by_text("Nothing is drawn yet").wait_for()
    left, top = (settled_sheet(page).bounding_box()[side] for side in "xy")
    page.mouse.move(left + 110, top + 40)
    page.mouse.down()
    for across, down in ((200, 40), (150, 200)):
        page.mouse.move(left + across, top + down, steps=8)
    page.mouse.up()


def pictures(visit, selector: str, count: int):
    """So many pictures of an answer, as soon as all of them are loaded."""
    visit.get_by_text("Noticed in the picture").wait_for()  # the last to come
    found = visit.locator(selector)
    found.nth(count - 1).wait_for()
    visit.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    return found


@on_both_sizes
def test_uploaded_pictures_are_read(visit):
    width = visit.viewport_size["width"]
    upload(visit, {"seven.png": picture("7")})
    assert re.fullmatch(r"Read as the digit 7 [\d.>]+% sure: .+", answer(visit))
    steps = pictures(visit, ".st-key-steps img", 3)
    assert [bool(image.get_attribute("alt")) for image in steps.all()] == [True] * 3
    boxes = [image.bounding_box() for image in steps.all()] + [visit.locator("table.bars").bounding_box()]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    assert len({round(box["y"]) for box in boxes}) == (1 if width > 800 else 2)  # rows
    upload(visit, {"nothing.png": b"no picture"})
    visit.get_by_text("1 of 2 pictures were read").wait_for()
    with visit.expect_download() as download:
        visit.get_by_role("button", name="Download the table").click()
    lines = Path(download.value.path()).read_text("utf-8-sig").splitlines()
    assert lines[0] == "file,read,confidence,warnings" and lines[1].startswith("seven.png,7,")
    assert lines[2].startswith('nothing.png,,,"unreadable: nothing.png is not a picture')


@on_both_sizes
def test_a_number_is_shown_in_boxes_beside_its_crops(visit):
    upload(visit, {"number.png": picture("470")})
    assert re.fullmatch(r"Read as the number 470 [\d.>]+% sure of all of it; least sure of #\d: .+", answer(visit))
    images = pictures(visit, "[data-testid=stImage] img", 4)
    page, *crops = images.all()
    assert page.get_attribute("alt") == "Your picture with boxes around the 3 digits that were found"
    assert [crop.get_attribute("alt").split("read as ")[1][0] for crop in crops] == list("470")
    boxes = [image.bounding_box() for image in (page, *crops)]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= visit.viewport_size["width"] for box in boxes)


def test_names_of_files_are_shown_and_never_run(visit):
    dialogs = []
    visit.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    names = ["<img src=x onerror=alert(1)>.png", "[x](javascript:alert(1)).png", "exe\u202egnp.png"]
    upload(visit, {names[0]: b"no picture"})
    message = visit.locator("[data-testid=stAlert]")
    message.wait_for()
    assert message.inner_text().startswith(f"{names[0]} is not a picture")
    upload(visit, dict.fromkeys(names[1:], b"no picture"))
    visit.get_by_text("0 of 3 pictures were read").wait_for()
    assert visit.locator("img[src=x], a[href^=javascript], script:has-text('alert')").count() == 0
    assert dialogs == []


@on_both_sizes
def test_a_drawing_is_read_and_cleared(visit):
    draw_a_seven(visit)
    assert answer(visit).startswith("Read as the digit 7")
    visit.get_by_role("button", name="Clear").click()
    visit.get_by_text("Nothing is drawn yet").wait_for()
    visit.locator(".answer").wait_for(state="detached")


@on_both_sizes
def test_a_file_over_the_limit_is_refused_in_words(visit, tmp_path):
    (tmp_path / "large.png").write_bytes(bytes(21 * 2**20))
    visit.locator("input[type=file]").set_input_files(tmp_path / "large.png")
    message = visit.get_by_text("File must be 20.0MB or smaller")
    message.wait_for()
    visit.wait_for_function("document.querySelector('[data-testid=stFileChip] [role=alert]').offsetWidth > 100")
    box, chip = message.bounding_box(), visit.locator("[data-testid=stFileChip]").bounding_box()
    assert box["x"] + box["width"] <= chip["x"] + chip["width"]


def test_the_keyboard_chooses_the_camera_and_it_takes_a_picture(visit):
    radio = visit.get_by_role("radio", name="Upload a file")
    for _ in range(20):
        if radio.evaluate("radio => radio === document.activeElement"):
            break
        visit.keyboard.press("Tab")
    visit.keyboard.press("ArrowRight")
    visit.wait_for_function("document.querySelector('video')?.videoWidth > 0")
    visit.get_by_role("button", name="Take Photo").click()  # of the browser's own test card
    visit.locator(".answer").or_(visit.get_by_text("try again")).first.wait_for()


def test_the_visitors_of_other_tests_send_and_see_what_a_browser_does(tabs, server):
    tab, sent = tabs["desk"], []
    tab.on("websocket", lambda channel: channel.on("framesent", lambda frame: sent.append(frame)))
    tab.goto(f"http://127.0.0.1:{server.port}")
    tab.get_by_text("One picture, or many at once").wait_for()
    upload(tab, {"seven.png": picture("7")})
    uploaded = answer(tab)
    draw_a_seven(tab)
    drawn = answer(tab)
    first_sheet = tab.locator("canvas").last.element_handle()
    tab.get_by_role("button", name="Clear").click()
    first_sheet.wait_for_element_state("hidden")  # it is another one's turn
    draw_a_seven(tab)
    assert answer(tab) == drawn
    messages = [BackMsg.FromString(frame) for frame in sent]
    states = [drawings(message.rerun_script.widget_states.widgets) for message in messages]
    ((drawing,),) = states[-1:]  # that of the first sheet is not sent any more

    async def the_same() -> tuple[str, str, list[str]]:
        async with Visitor(server.port) as visitor:
            await visitor.upload(("seven.png", picture("7")))
            uploaded = visitor.said
            await visitor.choose("Where does the picture come from?", "Draw")
            await visitor.send_drawing(drawing)
            await visitor.press("Clear")
            await visitor.send_drawing(drawing)
            return uploaded, visitor.said, drawings(visitor.states.values())

    with ThreadPoolExecutor(1) as elsewhere:  # playwright keeps this thread's loop
        assert elsewhere.submit(asyncio.run, the_same()).result() == (uploaded, drawn, [drawing])


def drawings(states: Iterable[WidgetState]) -> list[str]:
    """What is drawn, of the states of a page's widgets."""
    return [state.json_value for state in states if "image/png" in state.json_value]
