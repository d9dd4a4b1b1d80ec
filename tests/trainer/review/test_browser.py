"""The page in a real browser: marks by keyboard and mouse, the file, and a refit with it."""

import json

import pytest
import webdriver

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from trainer.review.refit import refit
from trainer.review.review import review

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(webdriver.MISSING), reason=webdriver.MISSING or "there is a browser"),
]

IMAGES = 6


@pytest.fixture(scope="module")
def page(spoilt_bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "review.html"
    review(spoilt_bundle, None, out, IMAGES, load_engine)
    return out


@pytest.fixture
def browser(tmp_path, page):
    with webdriver.Browser(tmp_path / "browser") as window:
        window.open(page)
        yield window


def shown(window):
    """Names of the images that are visible: one."""
    return window.run(
        "return [...document.querySelectorAll('article')].filter(a => a.offsetParent).map(a => a.dataset.name)"
    )


def names(window):
    return window.run("return [...document.querySelectorAll('article')].map(a => a.dataset.name)")


def pressed(window):
    return window.run("return [...document.querySelectorAll('[aria-pressed=true]')].map(b => b.dataset.label)")


def test_marks_become_a_file_and_a_bundle_without_the_defective_images(browser, page, spoilt_bundle, tmp_path):
    order = names(browser)
    assert len(order) == IMAGES
    assert set(order[:2]) == {"train/good/005.png", "train/good/011.png"}
    assert shown(browser) == order[:1]
    browser.press("d")  # and on to the next
    assert shown(browser) == order[1:2]
    browser.click("[data-label=defective]")
    browser.press("g", "U")
    assert shown(browser) == order[4:5]
    browser.press("ArrowLeft", "ArrowLeft")
    assert shown(browser) == order[2:3]
    assert pressed(browser) == ["good"]
    browser.click("[data-label=good]")  # the same mark again takes it away
    assert pressed(browser) == []
    browser.press("ArrowRight")
    assert pressed(browser) == ["unsure"]
    assert browser.text("#count") == "3 of 6 marked: 0 good, 2 defective, 1 unsure."
    browser.click("#save")
    saved = browser.downloaded("review.json")
    content = json.loads(saved.read_text())
    identity = read_bundle(spoilt_bundle).manifest.identity
    labels = {order[0]: "defective", order[1]: "defective", order[3]: "unsure"}
    assert content == {"schema": "edge-occ/review/1", "bundle": identity, "labels": labels}
    assert browser.run("return document.getElementById('text').value") == saved.read_text()
    done = refit(spoilt_bundle, saved, tmp_path / "new.occ")
    assert set(done.excluded) == set(order[:2])
    assert done.after.calibration.threshold < done.before.calibration.threshold
    assert browser.console() == [], "nothing was refused or failed"
    assert {url.split(":")[0] for url in browser.requested()} <= {"file", "data", "blob"}, "nothing left this machine"


def test_marks_survive_a_reload_and_are_of_one_bundle(browser, page, spoilt_bundle, tmp_path):
    browser.press("d", "u")
    order = names(browser)
    browser.open(page)
    assert shown(browser) == order[2:3], "the first without a mark"
    assert browser.text("#count") == "2 of 6 marked: 0 good, 1 defective, 1 unsure."
    other = tmp_path / "other.html"
    identity = read_bundle(spoilt_bundle).manifest.identity
    other.write_text(page.read_text().replace(identity, "0123456789abcdef"))
    browser.open(other)
    assert browser.text("#count").startswith("0 of 6 marked")
    browser.run("localStorage.setItem('edge-occ/review/1/0123456789abcdef', arguments[0])", '{"x": 1, "y')
    browser.open(other)
    assert browser.text("#count").startswith("0 of 6 marked")
    labels = json.dumps({order[0]: "broken", "train/good/900.png": "good", order[1]: "good"})
    browser.run("localStorage.setItem('edge-occ/review/1/0123456789abcdef', arguments[0])", labels)
    browser.open(other)
    assert browser.text("#count") == "1 of 6 marked: 1 good, 0 defective, 0 unsure."


def test_keys_with_ctrl_and_in_the_text_are_the_browsers(browser):
    browser.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'd', ctrlKey: true}))")
    browser.run("document.getElementById('text').focus()")
    browser.press("d", "g", "ArrowRight")
    assert browser.text("#count").startswith("0 of 6 marked")
    assert shown(browser) == names(browser)[:1]
    selected = "const t = document.getElementById('text'); return t.selectionEnd - t.selectionStart === t.value.length"
    browser.run("document.getElementById('text').blur(); document.getElementById('text').focus()")
    assert browser.run(selected)


def test_keys_stop_at_the_first_and_last_image_and_a_thumbnail_opens_its_image(browser):
    order = names(browser)
    browser.press("ArrowLeft")
    assert shown(browser) == order[:1]
    browser.click(".strip button:nth-child(6)")
    assert shown(browser) == order[5:]
    browser.press("ArrowRight", "u")
    assert shown(browser) == order[5:]
    browser.click("[data-step='-1']")
    assert shown(browser) == order[4:5]
    current = browser.run("return [...document.querySelectorAll('.strip [aria-current=true]')].map(b => b.textContent)")
    assert current == ["5"]


@pytest.mark.parametrize(("width", "dark"), [(360, False), (360, True), (1280, True)])
def test_nothing_is_wider_than_the_window_and_colours_follow_the_system(page, tmp_path, width, dark):
    with webdriver.Browser(tmp_path / "browser", (width, 800), dark) as window:
        window.open(page)
        assert window.run("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]
        paper = window.run("return getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(22, 25, 28)" if dark else "rgb(251, 251, 249)")
        assert window.console() == []


def test_names_that_are_code_are_text(page, tmp_path, hostile):
    """In the page and in what the script makes of it."""
    from trainer.report.page import PagePicture
    from trainer.report.review import ReviewImage, ReviewPage, review_page

    images = [
        ReviewImage(name, hostile, b"", [PagePicture(b"", hostile)]) for name in (hostile, "__proto__", "</script>")
    ]
    data = {"schema": "edge-occ/review/1", "bundle": f"</script>{hostile}"}
    out = review_page(tmp_path / "x.html", ReviewPage(hostile, hostile, hostile, images, hostile, data))
    with webdriver.Browser(tmp_path / "browser") as window:
        window.open(out)
        window.press("d", "g", "u")
        found = json.loads(window.run("return document.getElementById('text').value"))
        assert found == {**data, "labels": {hostile: "defective", "__proto__": "good", "</script>": "unsure"}}
        assert {url.split(":")[0] for url in window.requested()} <= {"file", "data"}
