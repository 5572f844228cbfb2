"""The report as a person meets it: in Chromium, opened from the disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visionweave import Masks, Origin, Tags, Text
from visionweave.report import build_report
from visionweave.testing import make_boxes, make_cutout, make_masks, make_mesh

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-sync",
    "--force-prefers-reduced-motion",  # meshes stand still until they are told to turn
)
SOFTWARE_3D = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
SECONDS = 60
"""How long a page may take at most; it is there much sooner."""

HOSTILE = 'x/<img src=x onerror=hacked=1> "it\'s" & 日本.jpg'

Open = Callable[..., "Page"]


class Page:
    """A report in the browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def js(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def wait(self, condition: str, *arguments: Any) -> Any:
        """Wait until an expression is true; return it."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, SECONDS, 0.05).until(
            lambda _: self.js(f"return {condition}", *arguments), f"never came true: {condition}"
        )

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def set(self, field: str, value: str) -> None:
        """Give a field of the bar a value, as a hand would."""
        self.js(
            "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
            "for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind))",
            field,
            value,
        )

    def names(self) -> list[str]:
        """The photos that are shown, in order."""
        tiles = "[...document.querySelectorAll('.tile')].map((tile) => tile.title)"
        return list(self.js(f"return {tiles}"))

    def texts(self, selector: str) -> list[str]:
        every = f"[...document.querySelectorAll('{selector}')]"
        return list(self.js(f"return {every}.map((each) => each.textContent)"))

    def open(self, name: str) -> None:
        """Open a photo, and wait until all about it is there."""
        self.js(
            "[...document.querySelectorAll('.tile')].find((t) => t.title === arguments[0]).click()",
            name,
        )
        self.wait("document.querySelector('#side dl')")

    def errors(self) -> list[str]:
        """What the browser complained of, but for the speed of drawing in software."""
        found = self.driver.get_log("browser")
        return [each["message"] for each in found if "GL Driver Message" not in each["message"]]


@pytest.fixture(scope="module")
def browsers() -> Iterator[Callable[..., Any]]:
    """Start browsers; each kind once."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    chauffeur = shutil.which("chromedriver")
    if program is None or chauffeur is None:
        pytest.skip("needs chromium and chromedriver; on Debian: apt-get install chromium-driver")
    started: dict[tuple[str, ...], Any] = {}

    def start(*flags: str) -> Any:
        if flags not in started:
            options = webdriver.ChromeOptions()
            options.binary_location = program
            for flag in (*FLAGS, *flags):  # the driver gives each a new, empty user-data-dir
                options.add_argument(flag)
            options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
            started[flags] = webdriver.Chrome(options, webdriver.ChromeService(chauffeur))
        return started[flags]

    yield start
    for driver in started.values():
        driver.quit()


@pytest.fixture
def show(browsers: Callable[..., Any]) -> Open:
    """Open the report of a job's folder, and wait until it is read."""

    def show(
        out: Path, flags: tuple[str, ...] = SOFTWARE_3D, size: tuple[int, int] = (1200, 800)
    ) -> Page:
        report = build_report(out)
        driver = browsers(*flags)
        mobile = size[0] < 600
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": mobile},
        )
        driver.get("about:blank")
        driver.get(report.page.absolute().as_uri())
        page = Page(driver)
        page.wait("document.querySelector('#job').childElementCount")
        page.wait("!document.querySelector('#found').textContent.includes('still')")
        return page

    return show


@pytest.fixture
def out(make_job: Callable[..., Path]) -> Path:
    """A job of three photos: one with everything, one with an odd name, one that failed."""
    masks = make_masks(make_boxes(3, labels=["apple", "cat", "cat"], photo="a.jpg"))
    origins = [masks.origin(index) for index in range(3)]
    photos = {
        "a.jpg": {
            "caption": Text("an apple and two cats"),
            "tags": Tags(("apple", "cat"), np.array([0.9, 0.8], np.float32)),
            "masks": masks,
            "cutouts": [make_cutout(origin) for origin in origins],
            "meshes": [make_mesh(origin) for origin in origins[:2]],
        },
        "b.jpg": {},
        HOSTILE: {
            "boxes": make_boxes(1, labels=["<b>dog</b>"]),
            "caption": Text("<script>hacked = 1</script>", Origin(HOSTILE)),
        },
    }
    failure = {"step": "cut", "object": None, "label": "", "error": "OSError", "message": "<i>no"}
    return make_job(photos, {"b.jpg": [failure]}, seconds={"detect": 0.5, "segment": 1.5})


def test_it_opens_from_the_disk_without_network_or_complaint(show: Open, out: Path) -> None:
    page = show(out)
    assert page.names() == ["a.jpg", "b.jpg", HOSTILE]
    assert page.texts("#sums") == ["3 photos · 4 objects · 3 cutouts · 2 3D models"]
    page.open("a.jpg")
    loaded = page.js("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert [name for name in loaded if not name.startswith("file://")] == []
    assert page.errors() == []


def test_an_opened_photo_shows_all_that_was_found(show: Open, out: Path) -> None:
    page = show(out)
    page.open("a.jpg")
    assert page.texts("#side blockquote") == ["an apple and two cats"]
    assert page.texts("#side .chip") == ["apple 0.90", "cat 0.80"]
    assert page.texts("#side .object b") == ["apple", "cat", "cat"]
    assert len(page.texts("#side .cutout")) == 3
    page.wait("[...document.querySelectorAll('.cutout img')].every((each) => each.naturalWidth)")
    assert page.texts("#side .bars > span:first-child") == ["detect"]
    page.wait("document.querySelector('#stage img').src.endsWith('/photos/a.jpg')")


def test_masks_are_decoded_to_the_pixel(show: Open, out: Path) -> None:
    page = show(out)
    array = (
        np.random.default_rng(0).random((4, 37, 53)) < np.array([0.02, 0.3, 0.7, 1])[:, None, None]
    )
    array[0, :, :9] = False
    masks = Masks.from_array(array)
    for index, counts in enumerate(masks.counts):
        found = page.js(
            "const m = visionweave.masks.bitmap(arguments[0], 4096);"
            "return [m.left, m.top, m.w, m.h, [...m.bits], visionweave.masks.area(arguments[0])]",
            [37, 53, counts.decode()],
        )
        left, top, width, height, bits, area = found
        whole = np.zeros((37, 53), bool)
        whole[top : top + height, left : left + width] = np.reshape(bits, (height, width))
        assert np.array_equal(whole, array[index])
        assert area == array[index].sum()


def test_masks_boxes_and_labels_can_be_switched(show: Open, out: Path) -> None:
    page = show(out)
    drawn = "document.querySelector('.tile canvas').toDataURL()"
    page.wait("document.querySelector('.tile canvas').width > 200")
    page.wait("visionweave.grid.idle()")
    pictures = [page.js(f"return {drawn}")]
    for key in "mbl":
        page.press(key)
        page.wait("visionweave.grid.idle()")
        pictures.append(page.js(f"return {drawn}"))
    assert len(set(pictures)) == 4
    blank = page.js(
        "const c = document.querySelector('.tile canvas').cloneNode(); return c.toDataURL()"
    )
    assert pictures[-1] == blank
    assert page.js("return document.querySelector('[data-show=masks]').ariaPressed") == "false"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        pytest.param("text", "A.JPG", ["a.jpg"], id="a name, in any case"),
        pytest.param("text", "two cats", ["a.jpg"], id="words of a caption"),
        pytest.param("status", "failed", ["b.jpg"], id="a status"),
        pytest.param("status", "empty", ["b.jpg"], id="without objects"),
        pytest.param("low", "0.96", [], id="no score as high"),
        pytest.param("high", "0.6", ["a.jpg"], id="low scores"),
        pytest.param("output", "boxes", ["a.jpg", "b.jpg", HOSTILE], id="another result"),
        pytest.param("sort", "objects", ["a.jpg", HOSTILE, "b.jpg"], id="most objects first"),
    ],
)
def test_filters(show: Open, out: Path, field: str, value: str, expected: list[str]) -> None:
    page = show(out)
    page.set(field, value)
    assert page.names() == expected


def test_a_label_is_chosen_in_a_menu_and_cleared_again(show: Open, out: Path) -> None:
    page = show(out)
    page.click("#labels summary")
    page.wait("document.querySelectorAll('#labels-list label').length === 3")
    page.click("#labels-list input[value='<b>dog</b>']")
    assert page.names() == [HOSTILE]
    assert page.texts("#labels-chosen") == ["<b>dog</b>"]
    assert page.texts("#found") == ["1 of 3 photos"]
    page.press("\ue00c")  # Esc closes the menu
    page.click("#clear")
    assert len(page.names()) == 3


def test_names_and_texts_are_never_taken_for_html(show: Open, out: Path) -> None:
    page = show(out)
    page.open(HOSTILE)
    assert page.texts("#photo-name") == [HOSTILE]
    assert page.texts("#side blockquote") == ["<script>hacked = 1</script>"]
    assert page.texts("#side .object b") == ["<b>dog</b>"]
    page.wait("document.querySelector('#stage img').src.includes('/photos/x/')")
    assert page.js("return [typeof hacked, document.querySelectorAll('[onerror]').length]") == [
        "undefined",
        0,
    ]


def test_all_can_be_done_with_the_keyboard(show: Open, out: Path) -> None:
    left, up, right, enter, escape = "\ue012", "\ue013", "\ue014", "\ue007", "\ue00c"
    page = show(out)
    here = "document.activeElement.title"
    page.js("document.getElementById('skip').focus()")
    page.press(enter)
    assert page.js(f"return {here}") == "a.jpg"
    page.press(right, right, left, up)
    assert page.js(f"return {here}") == "b.jpg"
    page.press(enter)
    page.wait("document.querySelector('#photo[open] .failure')")
    page.press(right)
    page.wait("document.querySelector('#photo-name').textContent.startsWith('x/')")
    page.press(escape)
    page.wait("!document.querySelector('#photo').open")
    assert page.js(f"return {here}") == HOSTILE
    assert page.js(
        "return [location.hash, getComputedStyle(document.activeElement).outlineStyle]"
    ) == ["", "solid"]


def test_an_address_names_the_photo_that_is_open(show: Open, out: Path) -> None:
    page = show(out)
    page.open("a.jpg")
    assert page.js("return location.hash") == "#photo=a.jpg"
    page.driver.back()
    page.wait("!document.querySelector('#photo').open")


def test_failures_are_listed_by_kind_and_lead_to_their_photos(show: Open, out: Path) -> None:
    page = show(out)
    page.click("#tab-failures")
    assert page.texts("#failures summary") == ["cut · OSError 1"]
    assert page.texts("#failures .message") == ["<i>no"]
    page.click("#failures .text")
    page.wait("document.querySelector('#photo[open] #photo-name').textContent === 'b.jpg'")


PIXELS = (
    "const c = document.querySelector(arguments[0]); if (!c || !c.width) return 0;"
    "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
    "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n"
)
"""How many pixels of a canvas are not blank."""


def test_a_mesh_is_drawn_and_turned_by_mouse_and_keys(show: Open, out: Path) -> None:
    page = show(out)
    page.open("a.jpg")
    page.wait(f"(() => {{ {PIXELS} }})()", "#side .mesh canvas")
    page.js("document.querySelector('#side .mesh').closest('button').click()")
    page.wait(f"(() => {{ {PIXELS} }})() > 5000", "#stage .mesh canvas")
    seen = "document.querySelector('#stage .mesh canvas').toDataURL()"
    still = page.js(f"return {seen}")
    page.press("\ue014")  # →
    page.wait(f"{seen} !== arguments[0]", still)
    turned = page.js(f"return {seen}")
    drag(page, "#stage .mesh", 80, 30)
    page.wait(f"{seen} !== arguments[0]", turned)
    dragged = page.js(f"return {seen}")
    page.press(" ")  # it turns by itself
    page.wait(f"{seen} !== arguments[0]", dragged)
    page.press("\ue00c")  # Esc goes back to the photo first
    page.wait("document.querySelector('#stage > img')")
    assert page.js("return document.querySelector('#photo').open")


def drag(page: Page, selector: str, across: int, down: int) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    element = page.driver.find_element("css selector", selector)
    ActionChains(page.driver).click_and_hold(element).move_by_offset(
        across, down
    ).release().perform()


def test_without_webgl_it_says_so(show: Open, out: Path) -> None:
    page = show(out, flags=("--disable-3d-apis",))
    page.open("a.jpg")
    assert "WebGL 2 is missing" in page.texts("#side .mesh")[0]


def test_a_photo_that_is_gone_says_so_and_keeps_what_was_found(
    show: Open, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos" / "a.jpg").unlink()
    page = show(out)
    page.open("a.jpg")
    page.wait("document.querySelector('#stage .notice').textContent.includes('not where it was')")
    assert len(page.texts("#side .object")) == 3
    page.click("#close")
    page.set("status", "photo")
    assert page.names() == ["a.jpg"]


def test_files_that_vanish_after_the_report_leave_a_note(
    show: Open, out: Path, tmp_path: Path
) -> None:
    page = show(out)
    (tmp_path / "photos" / "a.jpg").unlink()
    (out / "a" / "cutouts" / "0-apple.png").unlink()
    page.open("a.jpg")
    page.wait("document.querySelector('#stage .notice').textContent.includes('cannot be shown')")
    page.wait("[...document.querySelectorAll('.card .missing')].length === 1")
    assert "cannot be shown" in "".join(page.texts("#stage .notice"))
    assert len(page.texts(".card .missing")) == 1


def test_the_job_says_what_its_steps_took(show: Open, make_job: Callable[..., Path]) -> None:
    timings = {
        "(reading)": {"calls": 2, "seconds": 0.05},
        "masks": {"calls": 2, "found": 3, "seconds": 12, "load_seconds": 1.5},
    }
    run = {"timings": timings, "photos_per_second": 0.25, "peak_memory": {"process": 2_340_000_000}}
    page = show(make_job({"a.jpg": {}}, run={"timings": {}, "runs": [run]}))
    section = (
        "const section = [...document.querySelectorAll('#job section')]"
        ".find((each) => each.textContent.startsWith('Time per step')); return "
    )
    cells = "(row) => [...row.children].map((cell) => cell.textContent)"
    assert page.js(f"{section} [...section.querySelectorAll('tr')].map({cells})") == [
        ["step", "calls", "found in the cache", "took", "loading the model"],
        ["(reading)", "2", "", "50 ms", ""],
        ["masks", "2", "3", "12.0 s", "1.50 s"],
    ]
    assert page.js(f"{section} section.querySelector('p.quiet').textContent") == (
        "0.25 photos per second; most memory: 2.34 GB (process). "
        "What is in brackets is done beside the steps."
    )


def test_only_photos_near_the_window_are_in_the_page(
    show: Open, make_job: Callable[..., Path]
) -> None:
    page = show(make_job({f"{index:03}.png": {} for index in range(600)}))
    assert page.texts("#found") == ["600 photos"]
    assert 5 < len(page.names()) < 120
    page.js("document.getElementById('skip').click()")
    page.press("\ue010")  # End
    assert page.js("return document.activeElement.title") == "599.png"
    assert 5 < len(page.names()) < 120
    assert page.js("return document.activeElement.parentElement.ariaPosInSet") == "600"


def test_it_fits_a_phone(show: Open, out: Path) -> None:
    page = show(out, size=(390, 800))
    wide = "document.documentElement.scrollWidth > innerWidth"
    assert not page.js(f"return {wide}")
    assert not page.js("return document.getElementById('status').offsetParent")
    page.click("#more")
    assert page.js("return document.getElementById('status').offsetParent !== null")
    assert not page.js(f"return {wide}")
    page.open("a.jpg")
    assert not page.js(f"return {wide}")
    top = "document.getElementById(arguments[0]).getBoundingClientRect().top"
    assert page.js(f"return {top}", "stage") < page.js(f"return {top}", "side")
