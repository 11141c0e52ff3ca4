"""The page of `isthmus serve`, in a real browser without a window."""

import os
import re
import shutil

import numpy as np
import pytest

from isthmus import EASE, AutoRec, Ratings, Recommender, read_items, synthetic_ratings

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
if BROWSER is None:
    pytest.skip("needs Chromium", allow_module_level=True)

from web_server import TOKEN, running  # noqa: E402, as it needs what may be missing

SCRIPT = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'
DESKTOP, PHONE = (1280, 900), (390, 844)
WIDEST = "document.documentElement.scrollWidth"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    ratings = synthetic_ratings(300, 120, 6000, random_state=1)
    titles = [
        f"{n}::Film {'abcdefghijkl'[n // 10]}{n % 10} (1999)::Drama|Crime" for n in range(120)
    ]
    titles[0] = f"0::{SCRIPT}::{SCRIPT}"
    (folder / "movies.dat").write_text("\n".join(titles))
    AutoRec(hidden_units=(10,), epochs=10, random_state=0).fit(ratings).save(folder / "rates.st")
    EASE(regularization=5.0).fit(ratings.binarize(3)).save(folder / "ranks.st")
    tens = Ratings.from_matrix(2 * ratings.to_matrix())
    AutoRec(hidden_units=(4,), epochs=2, random_state=0).fit(tens).save(folder / "tens.st")
    return folder


@pytest.fixture(scope="module")
def servers(folder):
    titles = {"items": folder / "movies.dat"}
    with (
        running(folder / "rates.st", **titles) as rates,
        running(folder / "ranks.st", **titles) as ranks,
        running(folder / "tens.st", **titles) as tens,
        running(folder / "ranks.st", token=TOKEN) as guarded,
    ):
        served = {"rates": rates, "ranks": ranks, "tens": tens, "guarded": guarded}
        yield {name: client.address for name, client in served.items()}


@pytest.fixture(scope="module")
def browser():
    playwright.expect.set_options(timeout=120_000)  # of machines with much else to do
    with playwright.sync_playwright() as started:
        # Chromium refuses to be root in its sandbox
        arguments = ["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else []
        browser = started.chromium.launch(executable_path=BROWSER, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, servers):
    """Open a page, which must neither report an error nor ask any other server."""
    contexts, wrong = [], []

    def report(message):
        # an answer that says what is wrong with a request is none of the page
        if message.type == "error" and "status of 400" not in message.text:
            wrong.append(message.text)

    def open_page(server="rates", size=DESKTOP, scheme="light", path="/"):
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", report)
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(servers[server]) else wrong.append(request.url)
            ),
        )
        page.goto(servers[server] + path)
        if server != "guarded":
            page.wait_for_selector("#recommended li")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def listed(page):
    return page.locator("#recommended .title").all_inner_texts()


def scored(page):
    """Return predicted ratings by title."""
    scores = page.locator("#recommended .score").all_inner_texts()
    return dict(zip(listed(page), scores, strict=True))


def search(page, words):
    page.fill("#query", words)
    row = page.locator("#results li", has_text=words).first
    row.wait_for()
    return row


def after_change(page, act):
    """Do something that changes the list; return the new one, with its reasons."""
    before = page.locator("#recommended li").first.element_handle()
    act()
    page.wait_for_function("before => !before.isConnected", arg=before)
    return listed(page)


def rate(page, words, stars):
    row = search(page, words)
    return after_change(page, row.get_by_role("radio").nth(stars - 1).click)


def test_rating_three_changes_the_list_and_the_reason_names_one(visit):
    page = visit()
    lists, scores = [listed(page)], scored(page)
    titles = lists[0][:3]
    for title, stars in zip(titles, (5, 1, 4), strict=True):
        lists.append(rate(page, title, stars))
        assert lists[-1] != lists[-2]
        assert title not in lists[-1]
    both = scores.keys() & scored(page).keys()
    assert any(scores[title] != scored(page)[title] for title in both)
    reasons = page.locator("#recommended .reason")
    playwright.expect(reasons.last).not_to_be_empty()
    told = reasons.all_inner_texts()
    named = {
        f"because you rated {title} {stars}" for title, stars in zip(titles, (5, 1, 4), strict=True)
    }
    assert named & set(told)
    assert set(told) <= named | {"Nothing speaks for it alone."}
    assert "12 from your 3 ratings" in page.inner_text("#status")

    page.locator("#recommended [data-role=why]").first.click()
    why = page.locator("#recommended .why")
    why.wait_for()
    for title in titles:
        assert title in why.inner_text()
    assert re.match(r"Predicted rating \d\.\d\d\.", why.inner_text())


def test_ratings_change_and_go(visit):
    page = visit()
    first = rate(page, "Film a1", 5)
    own = page.locator("#history li")
    assert own.locator("[aria-checked=true]").get_attribute("aria-label") == "5 of 5"
    second = after_change(page, own.get_by_role("radio").nth(0).click)
    assert own.locator("[aria-checked=true]").get_attribute("aria-label") == "1 of 5"
    assert first != second
    after_change(page, own.get_by_role("button", name="Remove").click)
    assert page.locator("#history li").count() == 0
    assert page.locator("#no-history").is_visible()


def test_markup_in_titles_stays_text(visit):
    page = visit()
    row = search(page, "script")
    assert row.locator(".title").inner_text() == SCRIPT
    assert SCRIPT.replace("|", " · ") in row.locator(".detail").inner_text()
    after_change(page, row.get_by_role("radio").nth(4).click)
    page.locator("#recommended [data-role=why]").first.click()
    playwright.expect(page.locator("#recommended .why")).to_contain_text(SCRIPT)
    page.locator("#history .title").click()
    playwright.expect(page.locator("#item-title")).to_have_text(SCRIPT)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script").count() == 0


def test_hidden_items_stay_away_until_shown_again(visit):
    page = visit()
    gone = listed(page)[1]
    hide = page.locator("#recommended li").nth(1).get_by_role("button", name="Hide")
    assert gone not in after_change(page, hide.click)
    assert gone not in rate(page, "Film a1", 5)
    page.locator("#hidden-title").click()
    assert page.locator("#hidden .title").all_inner_texts() == [gone]
    after_change(page, page.locator("#hidden [data-role=unhide]").click)
    after_change(page, page.get_by_role("button", name="Remove").click)
    assert listed(page)[1] == gone


def test_similar_items_lead_on(visit):
    page = visit()
    page.locator("#recommended .title").first.click()
    playwright.expect(page.locator("#item-title")).to_have_text(listed(page)[0])
    similar = page.locator("#similar .title")
    playwright.expect(similar).to_have_count(6)
    name = similar.first.inner_text()
    assert name != listed(page)[0]
    similar.first.click()
    playwright.expect(page.locator("#item-title")).to_have_text(name)
    after_change(page, page.locator("#item-actions [role=radio]").nth(3).click)
    assert page.locator("#history .title").all_inner_texts() == [name]
    page.get_by_role("button", name="Close").click()
    assert page.locator("#item").is_hidden()


def test_more_and_another_order_and_over_again(visit):
    page = visit()
    start = listed(page)
    longer = after_change(page, page.locator("#more").click)
    assert longer[:12] == start
    assert len(longer) == 24
    by_rating = after_change(page, lambda: page.select_option("#order", "rating"))
    scores = [float(one) for one in page.locator("#recommended .score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    assert by_rating != longer
    rate(page, "Film a1", 5)
    after_change(page, page.locator("#restart").click)
    assert page.locator("#history li").count() == 0
    assert len(listed(page)) == 12


def picture(page):
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate("document.getElementById('map').toDataURL()")


def test_the_map_zooms_pans_and_picks(visit):
    page = visit()
    pictures = [picture(page)]
    box = page.locator("#map").bounding_box()
    centre = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*centre)
    for act in (
        lambda: page.mouse.wheel(0, -400),
        lambda: page.locator("#zoom-in").click(),
        lambda: page.locator("#zoom-out").click(),
        lambda: page.locator("#map").drag_to(
            page.locator("#map"),
            source_position={"x": 50, "y": 50},
            target_position={"x": 150, "y": 90},
        ),
    ):
        act()
        pictures.append(picture(page))
        assert pictures[-1] != pictures[-2]
    assert page.locator("#item").is_hidden()  # what was dragged is not picked
    page.locator("#zoom-all").click()
    page.mouse.move(0, 0)
    assert picture(page) == pictures[0]

    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    at_centre = page.inner_text("#at-centre").removeprefix("At the centre: ")
    for key in ("+", "-", "ArrowLeft"):
        page.keyboard.press(key)
    page.keyboard.press("0")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#item-title")).to_have_text(at_centre)

    page.get_by_role("button", name="Close").click()
    page.mouse.click(*centre)  # where the item was moved to
    playwright.expect(page.locator("#item-title")).to_have_text(at_centre)


def test_works_by_keyboard_alone(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    while page.evaluate("document.activeElement.id") != "query":
        page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.type("Film a1")
    page.locator("#results li", has_text="Film a1").wait_for()

    def rate_by_keys():
        page.keyboard.press("Tab")  # to the title
        page.keyboard.press("Tab")  # to the stars
        for key in ("ArrowRight", "ArrowRight", "ArrowRight", "Enter"):
            page.keyboard.press(key)

    after_change(page, rate_by_keys)
    assert page.locator("#history [aria-checked=true]").get_attribute("aria-label") == "4 of 5"
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label == "4 of 5"  # the focus stays where it was
    after_change(page, lambda: page.keyboard.press("2"))
    assert page.locator("#history [aria-checked=true]").get_attribute("aria-label") == "2 of 5"

    while page.evaluate("document.activeElement.closest('#recommended') === null"):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == listed(page)[0]
    page.keyboard.press("Tab")
    after_change(page, lambda: page.keyboard.press("5"))  # which takes the item from the list
    assert page.locator("#history li").count() == 2
    assert (
        page.evaluate("document.activeElement.closest('#recommended li').previousSibling") is None
    )
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#recommended .why")).to_contain_text("Film a1")
    page.keyboard.press("Tab")
    gone = listed(page)[0]
    assert gone not in after_change(page, lambda: page.keyboard.press("Enter"))
    assert page.evaluate("document.activeElement.dataset.role") == "hide"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "item-title"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == listed(page)[0]


def test_every_control_has_a_name(visit):
    page = visit()
    rate(page, "Film a1", 5)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas, [role=radiogroup]")]
            .filter((one) => !one.ariaLabel && !one.textContent.trim() && !one.labels?.length)
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize("server", ["rates", "ranks", "tens"])
def test_fits_a_phone(visit, server):
    page = visit(server, PHONE)
    assert page.evaluate(WIDEST) == 390
    row = search(page, "script")
    assert page.evaluate(WIDEST) == 390
    after_change(page, row.locator("[role=radio], [data-role=rate]").last.click)
    page.locator("#recommended [data-role=why]").first.click()
    page.locator("#recommended .why").wait_for()
    page.locator("#recommended .title").first.click()
    playwright.expect(page.locator("#similar .title")).to_have_count(6)
    assert page.evaluate(WIDEST) == 390
    box = page.locator("#item-title").bounding_box()
    assert 0 <= box["y"] <= 844
    page.get_by_role("button", name="Close").click()
    small = page.evaluate(
        """() => [...document.querySelectorAll("main button:not(.title)")]
            .map((one) => [one.getBoundingClientRect(), one.outerHTML])
            .filter(([{width, height}]) => width && Math.min(width, height) < 24)
            .map(([, html]) => html)"""
    )
    assert small == []  # for a finger


CONTRASTS = """() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
        .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
        .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
    const behind = (element) => {
        const colour = parse(getComputedStyle(element).backgroundColor);
        return colour.length === 3 || colour[3] === 1 ? colour : behind(element.parentElement);
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
        if (element.matches(".unseen, .skip, option, noscript")) continue;
        const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        found.push([contrast, element.className || element.tagName, walker.currentNode.data]);
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("server", ["rates", "ranks"])
def test_text_stands_out(visit, scheme, server):
    page = visit(server, scheme=scheme)
    row = search(page, "Film a1")
    after_change(page, row.locator("[role=radio], [data-role=rate]").last.click)
    page.locator("#recommended [data-role=why]").first.click()
    page.locator("#recommended .why").wait_for()
    page.locator("#recommended .title").first.click()
    page.mouse.move(0, 0)
    found = page.evaluate(CONTRASTS)
    assert len(found) > 100
    dim = [one for one in found if one[0] < 4.5 and not (one[2] in "★☆" and one[0] >= 3)]
    assert dim == []
    assert np.mean([one[0] for one in found]) > 7


def test_models_of_likes_have_no_stars(visit):
    page = visit("ranks")
    assert page.get_by_role("radio").count() == 0
    assert page.locator("#order-part").is_hidden()
    likes = ["Film a1", "Film b2", "Film c3"]
    before = listed(page)
    playwright.expect(page.locator("#results .title")).to_have_count(5)
    known = page.locator("#results .title").all_inner_texts()
    assert before[:5] == known  # as EASE knows nothing of somebody who likes nothing yet
    for title in likes:
        row = search(page, title)
        after = after_change(page, row.get_by_role("button", name=f"Like {title}").click)
        assert after != before
        before = after
    playwright.expect(page.locator("#recommended .reason").last).not_to_be_empty()
    assert page.locator("#recommended .reason", has_text="because you like Film").count() > 0
    liked = page.locator("#history [data-role=rate]").first
    assert liked.get_attribute("aria-pressed") == "true"
    after_change(page, liked.click)
    assert page.locator("#history li").count() == 2


@pytest.mark.parametrize("server", ["rates", "ranks"])
def test_a_user_of_training_can_be_looked_at(visit, server, folder):
    page = visit(server)
    own = listed(page)
    page.fill("#user", "7")
    theirs = after_change(page, lambda: page.keyboard.press("Enter"))
    assert page.inner_text("#list-title") == "For user 7"
    model = Recommender.load(folder / f"{server}.st")
    titles = read_items(folder / "movies.dat")
    assert theirs == [titles[item] for item in model.recommend(7, n=12)[0].tolist()]
    if server == "ranks":  # which knows what the user had
        playwright.expect(page.locator("#recommended .reason").last).not_to_be_empty()
        page.locator("#recommended [data-role=why]").first.click()
        page.locator("#recommended .why li").first.wait_for()
    else:
        assert page.locator("#recommended [data-role=why]").count() == 0
    assert after_change(page, page.locator("#own").click) == own
    page.fill("#user", "no one")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#error")).to_contain_text("user must be integers")
    rate_or_like = page.locator("#results").locator("[role=radio], [data-role=rate]").first
    after_change(page, rate_or_like.click)
    assert page.inner_text("#list-title") == "For you"
    assert page.locator("#error").is_hidden()


def test_a_token_is_asked_for_or_taken_from_the_address(browser, servers):
    context = browser.new_context()
    page = context.new_page()
    page.goto(servers["guarded"])
    page.locator("#ask-token").wait_for()
    assert page.locator("#error").is_hidden()
    page.fill("#token", "a wrong one")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#token-title")).to_have_text("That is not this server's token")
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector("#recommended li")
    assert page.locator("#error").is_hidden()
    context.close()

    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{servers['guarded']}/?token={TOKEN}")
    page.wait_for_selector("#recommended li")
    assert page.url == servers["guarded"] + "/"
    assert page.locator("#ask-token").is_hidden()
    page.reload()
    page.wait_for_selector("#recommended li")
    context.close()


def test_says_when_the_server_is_gone(browser, folder):
    context = browser.new_context()
    page = context.new_page()
    with running(folder / "ranks.st") as server:
        page.goto(server.address)
        page.wait_for_selector("#recommended li")
    page.locator("#results [data-role=rate]").first.click()
    playwright.expect(page.locator("#error")).to_have_text("The server cannot be reached.")
    context.close()
