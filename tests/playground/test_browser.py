"""The page in a real browser: Chromium, driven by Playwright."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from fastmlp.playground.problems import PROBLEMS
from fastmlp.playground.settings import PRESETS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = Path(sys.prefix) / "node_modules" / "axe-core" / "axe.min.js"
DESKTOP, PHONE = {"width": 1360, "height": 850}, {"width": 390, "height": 844}

expect.set_options(timeout=15_000)  # other work may keep the machine busy

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


class Server:
    """`fastmlp playground` in a process of its own."""

    def __init__(self, port=0):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fastmlp", "playground", "--no-browser", "--port", str(port)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        line = self.process.stdout.readline()
        self.url = re.search(r"http://\S+/", line).group()
        self.port = int(self.url.rpartition(":")[2].strip("/"))

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        self.process.stdout.close()
        assert code == 0


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, server):
    """Opens pages; none may complain on its console."""
    complaints = []
    with contextlib.ExitStack() as stack:

        def open_page(fragment="", url=None, **options):
            context = browser.new_context(**{"viewport": DESKTOP, **options})
            stack.callback(context.close)
            page = context.new_page()
            page.complaints = complaints
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "console",
                lambda message: message.type == "error" and complaints.append(message.text),
            )
            page.goto((url or server.url) + fragment)
            expect(page.locator("#columns .unit").first).to_be_visible(timeout=90_000)
            return page

        yield open_page
    assert complaints == []


def epoch(page):
    return int(page.locator("#epoch").inner_text().replace(",", ""))


def wait_for_loss(page, below, timeout):
    page.wait_for_function(
        "below => Number(document.querySelector('#loss-test').textContent) < below",
        arg=below,
        timeout=1000 * timeout,
    )


def wait_for_epoch(page, at_least):
    page.wait_for_function(
        "least => Number(document.querySelector('#epoch').textContent.replace(',', '')) >= least",
        arg=at_least,
        timeout=30_000,
    )


def pixels(page, selector):
    """The content of a canvas."""
    return page.locator(selector).evaluate("canvas => canvas.toDataURL()")


# Training


def test_load_and_train(open_page):
    page = open_page()
    expect(page).to_have_title("fastmlp playground")
    assert epoch(page) == 0
    before = [pixels(page, name) for name in ("#lens-map", "#links", "#unit-1-1 canvas", "#chart")]
    page.get_by_role("button", name="Play").click()
    wait_for_loss(page, 0.1, 30)
    page.get_by_role("button", name="Pause").click()
    after = [pixels(page, name) for name in ("#lens-map", "#links", "#unit-1-1 canvas", "#chart")]
    assert all(one != other for one, other in zip(before, after, strict=True))
    reached = epoch(page)
    page.wait_for_timeout(300)
    assert epoch(page) == reached
    page.get_by_role("button", name="Step").click()
    expect(page.locator("#epoch")).to_have_text(str(reached + 1))
    page.get_by_role("button", name="Reset").click()
    expect(page.locator("#epoch")).to_have_text("0")


LOW = {"gaussians": 0.05, "circle": 0.05, "xor": 0.05, "spiral": 0.1, "plane": 0.005}


@pytest.mark.parametrize("dataset", PROBLEMS)
def test_every_dataset_is_learned(open_page, dataset):
    page = open_page("#hidden=8,8&activation=silu&regularization=l2&regularization_rate=0.003")
    page.get_by_role("radio", name=PROBLEMS[dataset].title).check(force=True)
    expect(page).to_have_url(re.compile(f"dataset={dataset}"))
    page.locator("#speed").select_option("0")
    page.locator("#play").click()
    wait_for_loss(page, LOW[dataset], 30)


def test_the_spiral_is_solved_within_ten_seconds(open_page):
    page = open_page()
    page.get_by_role("button", name=PRESETS["spiral"].title).click()
    expect(page.locator("#preset-text")).to_have_text(PRESETS["spiral"].text)
    page.locator("#play").click()
    wait_for_loss(page, 0.05, 10)


def test_frames_keep_coming(open_page):
    page = open_page()
    sizes = []
    page.on(
        "websocket",
        lambda socket: socket.on(
            "framereceived",
            lambda content: isinstance(content, bytes) and sizes.append(len(content)),
        ),
    )
    page.reload()
    expect(page.locator("#columns .unit").first).to_be_visible()
    page.locator("#play").click()
    page.wait_for_timeout(1000)
    # At least 20 a second on an idle machine; here, that there are many and small ones.
    assert len(sizes) > 5
    assert max(sizes) < 100_000
    assert page.locator("#rate").inner_text() != "0"


# Changes


def test_the_network_changes_while_it_runs(open_page):
    page = open_page()
    page.locator("#play").click()
    wait_for_epoch(page, 5)
    page.get_by_role("button", name="Layer 1: one unit more").click()
    expect(page.locator("#unit-1-5")).to_be_visible()
    page.get_by_role("button", name="One hidden layer more").click()
    expect(page.locator("#unit-3-1")).to_be_visible()
    page.get_by_role("button", name="x₁x₂").click()
    expect(page.get_by_role("button", name="x₁x₂")).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Activation").select_option("gelu")
    page.get_by_label("Solver").select_option("nesterov")
    wait_for_epoch(page, 5)
    reached = epoch(page)
    page.get_by_label("Learning rate").select_option("0.001")
    page.get_by_label("Batch size").select_option("1")
    page.get_by_label("Penalty").select_option("l2")
    page.get_by_label("Its rate").select_option("0.01")
    wait_for_epoch(page, reached)  # these changes do not start anew
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    page.get_by_role("button", name="One hidden layer less").click()
    expect(page.locator("#unit-3-1")).to_have_attribute("aria-label", "Output")
    wait_for_epoch(page, 3)


def test_limits_of_the_network(open_page):
    page = open_page("#hidden=8,1")
    expect(page.get_by_role("button", name="Layer 1: one unit more")).to_be_disabled()
    expect(page.get_by_role("button", name="Layer 2: one unit less")).to_be_disabled()
    for _ in range(4):
        page.get_by_role("button", name="One hidden layer more").click()
    expect(page.get_by_role("button", name="One hidden layer more")).to_be_disabled()
    for _ in range(6):
        page.get_by_role("button", name="One hidden layer less").click()
    expect(page.get_by_role("button", name="One hidden layer less")).to_be_disabled()
    page.get_by_role("button", name="x₁", exact=True).click()
    page.get_by_role("button", name="x₂", exact=True).click()
    expect(page.locator("#notice")).to_contain_text("at least one feature")
    page.locator("#step").click()
    expect(page.locator("#epoch")).to_have_text("1")


def test_the_address_holds_the_settings(open_page):
    page = open_page("#dataset=xor&noise=20&hidden=3&features=x1,x1x2&activation=relu&seed=7")
    expect(page.get_by_role("radio", name="Exclusive or")).to_be_checked()
    expect(page.get_by_label("Activation")).to_have_value("relu")
    expect(page.locator("#noise-value")).to_have_text("20 %")
    expect(page.locator(".layer .unit")).to_have_count(3)
    page.get_by_label("Learning rate").select_option("0.3")
    page.get_by_role("button", name="Draw anew").click()
    address = page.url
    assert "seed=7&" not in address
    page.locator("#step").click()
    expect(page.locator("#epoch")).to_have_text("1")
    loss = page.locator("#loss-test").inner_text()
    other = open_page("#" + address.partition("#")[2])
    assert other.url == address
    other.locator("#step").click()
    expect(other.locator("#epoch")).to_have_text("1")
    assert other.locator("#loss-test").inner_text() == loss
    other.evaluate("location.hash = '#dataset=spiral'")
    expect(other.get_by_role("radio", name="Two spirals")).to_be_checked()


@pytest.mark.parametrize(
    "fragment", ["#dataset=moons", "#hidden=99", "#noise=abc", "#learning_rate=-1", "#x=1&&=&%"]
)
def test_a_bad_address_does_no_harm(open_page, fragment):
    page = open_page(fragment)
    expect(page.get_by_role("radio", name="Circle in a ring")).to_be_checked()
    page.locator("#step").click()
    expect(page.locator("#epoch")).to_have_text("1")


def test_a_unit_can_be_looked_at(open_page):
    page = open_page("#dataset=xor")
    output = pixels(page, "#lens-map")
    page.get_by_role("button", name="Layer 1, unit 2").hover()
    expect(page.locator("#lens-name")).to_contain_text("Layer 1, unit 2")
    expect(page.locator("#formula")).to_contain_text("a₂ = tanh(")
    assert pixels(page, "#lens-map") != output
    page.get_by_role("button", name="Layer 1, unit 2").click()
    page.mouse.move(3, 3)
    page.locator("#step").focus()
    expect(page.locator("#lens-name")).to_contain_text("Layer 1, unit 2")
    page.keyboard.press("Escape")
    expect(page.locator("#lens-name")).to_have_text("output of the network")
    page.locator("#lens").hover(position={"x": 20, "y": 20})
    expect(page.locator("#lens-readout")).to_contain_text("→")


def test_divergence_is_told(open_page):
    page = open_page(
        "#dataset=plane&activation=identity&hidden=8,8&solver=sgd&learning_rate=10&speed=0"
    )
    page.locator("#play").click()
    expect(page.locator("#notice")).to_contain_text("lower the learning rate")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")


# Connections


def test_two_pages_at_once(open_page):
    pages = [open_page("#dataset=xor"), open_page("#dataset=plane&hidden=3")]
    for page in pages:
        page.locator("#play").click()
    for page in pages:
        wait_for_epoch(page, 20)
    assert "dataset=xor" in pages[0].url
    assert pages[1].locator("#score-name").inner_text() == "Test R²"


def test_a_lost_connection_is_made_again(open_page):
    server = Server()
    try:
        page = open_page(url=server.url)
        page.locator("#play").click()
        wait_for_epoch(page, 20)
        server.stop()
        expect(page.locator("#notice")).to_contain_text("connection is lost")
        reached = epoch(page)
        server = Server(server.port)
        expect(page.locator("#notice")).to_have_text("", timeout=90_000)
        wait_for_epoch(page, reached + 5)  # it went on from there
        expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
        page.close()
    finally:
        server.stop()
    page.complaints.clear()  # the browser tells of each failed attempt


def test_a_hidden_page_does_not_train(open_page):
    page = open_page()
    page.locator("#play").click()
    wait_for_epoch(page, 5)
    page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", { value: true, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    page.wait_for_timeout(500)
    reached = epoch(page)
    page.wait_for_timeout(500)
    assert epoch(page) == reached
    page.evaluate(
        """() => {
            delete document.hidden;
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    wait_for_epoch(page, reached + 5)


# For everyone


def test_keyboard_only(open_page):
    page = open_page()

    def tab_to(selector):
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"Tab does not lead to {selector}")

    page.keyboard.press(".")
    expect(page.locator("#epoch")).to_have_text("1")
    page.keyboard.press("Space")
    wait_for_epoch(page, 5)
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    page.keyboard.press("r")
    expect(page.locator("#epoch")).to_have_text("0")

    tab_to("#preset-xor")
    page.keyboard.press("Enter")
    expect(page.locator("#preset-xor")).to_have_attribute("aria-pressed", "true")
    tab_to("#play")
    page.keyboard.press("Space")
    wait_for_epoch(page, 5)
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    tab_to("#layer-1-more")
    page.keyboard.press("Enter")
    expect(page.locator("#unit-1-5")).to_be_visible()
    # The focus stays where it was, although the diagram was built anew.
    expect(page.locator("#layer-1-more")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#unit-1-6")).to_be_visible()
    tab_to("#unit-1-2")
    expect(page.locator("#lens-name")).to_contain_text("Layer 1, unit 2")
    tab_to("[name=dataset]")
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("dataset=spiral"))
    tab_to("[data-setting=noise]")
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("noise=5"))
    tab_to("[data-setting=activation]")
    page.keyboard.type("relu")
    expect(page).to_have_url(re.compile("activation=relu"))


def test_keys_can_be_switched_off(open_page):
    page = open_page()
    page.locator("#help-open").click()
    page.get_by_label("Use these keys").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press(".")
    page.locator("#step").click()
    expect(page.locator("#epoch")).to_have_text("1")
    page.wait_for_timeout(100)
    assert epoch(page) == 1


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(open_page, scheme, viewport):
    page = open_page("#hidden=8,3&dataset=spiral", color_scheme=scheme, viewport=viewport)
    page.locator(".python summary").click()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert violations(page) == []
    page.locator("#play").click()
    wait_for_epoch(page, 3)
    page.locator("#play").click()
    page.locator("#preset-squares").click()
    assert violations(page) == []
    page.locator("#help-open").click()
    assert violations(page) == []


def violations(page):
    results = page.evaluate("axe.run()")
    assert len(results["passes"]) > 10
    return [
        (rule["id"], rule["impact"], [node["html"] for node in rule["nodes"]])
        for rule in results["violations"]
    ]


@pytest.mark.parametrize("hidden", ["", "4,2", "8,8,8,8,8,8"])
@pytest.mark.parametrize("width", [320, 390, 700, 900, 1200])
def test_nothing_is_cut_off(open_page, hidden, width):
    page = open_page(f"#hidden={hidden}", viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_light_and_dark(open_page):
    def background(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = open_page(color_scheme="light"), open_page(color_scheme="dark")
    colours = background(light), background(dark)
    assert colours[0] != colours[1]
    assert pixels(light, "#lens-map") != pixels(dark, "#lens-map")
    light.locator("#theme").click()  # auto, then light
    light.locator("#theme").click()
    assert background(light) == colours[1]
    light.reload()
    expect(light.locator("#theme")).to_have_attribute("aria-label", "Colours: Dark")
    assert background(light) == colours[1]


def test_the_server_ends_when_it_is_interrupted(open_page):
    server = Server()
    page = open_page(url=server.url)
    page.locator("#play").click()
    wait_for_epoch(page, 3)
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < 15
    page.close()
    page.complaints.clear()
