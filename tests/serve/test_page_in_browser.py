"""The page in a real browser: mouse, keyboard and small screens."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import urllib.request
from os import geteuid
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

from fakes import NestedHashEncoder, fake_info
from nestvec.errors import InvalidArgument
from nestvec.serve.app import create_app
from nestvec.serve.served import Served
from nestvec.serve.settings import Settings
from nestvec.types import OperatingPoint
from page_served import ATTACK, ATTACKER, POINT, TIERS, page_served
from serving_client import running

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
KEY = "a-key-of-sixteen-characters"
QUESTION = "w3 w14 w15 w92 w65"
LOSING = "16:binary@20>64:float16"

expect.set_options(timeout=20_000)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    return page_served(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def address(served):
    with running(create_app(served)) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    arguments = ["--no-sandbox"] if geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open pages; at the end, no page may have had an error or contacted another host."""
    problems, contexts = [], []

    def opened(address, hash_="", *, width=1400, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message) or dialog.dismiss())
        page.on("console", lambda message: _note(problems, message))
        page.on("request", lambda request: _check_host(problems, request.url, address))
        page.goto(f"{address}/{hash_}")
        return page

    opened.problems = problems
    yield opened
    for context in contexts:
        context.close()
    assert problems == []


def _note(problems, message):
    # Chromium itself notes every answer of 400 and above.
    if message.type in ("error", "warning") and not message.text.startswith("Failed to load"):
        problems.append(message.text)


def _check_host(problems, url, address):
    if urlsplit(url).netloc != urlsplit(address).netloc:
        problems.append(f"asked {url}")


@pytest.fixture
def page(open_page, address):
    """The view of results, with its first answer."""
    page = open_page(address, f"#q={QUESTION.replace(' ', '+')}")
    expect(page.locator("#results .hit")).to_have_count(10)
    return page


def found(page):
    return [row.get_attribute("data-doc") for row in page.locator("#results .hit").all()]


def wait_for(page, served, question, point, k=10):
    """Wait until the page shows what the index finds."""
    (ids,) = served.index.search([question], k, point=point).ids
    rows = page.locator("#results .hit")
    expect(rows).to_have_count(len(ids))
    for place, id_ in enumerate(ids):
        expect(rows.nth(place)).to_have_attribute("data-doc", id_)
    return ids


def exact(served, question, k=10):
    return served.index.search([question], k, exact=True).ids[0]


def stage(page, number=0):
    return page.locator(".stage").nth(number)


def test_typing_a_query_shows_its_results_and_the_address_brings_them_back(page, served):
    page.get_by_label("Search query").fill("w1 w2 w3 own7")
    ids = wait_for(page, served, "w1 w2 w3 own7", POINT)
    page.wait_for_url("**q=w1+w2+w3+own7*")
    page.reload()
    assert wait_for(page, served, "w1 w2 w3 own7", POINT) == ids
    expect(page.get_by_label("Search query")).to_have_value("w1 w2 w3 own7")


def test_the_answer_of_an_aborted_query_is_not_shown(page, served):
    page.route(
        "**/v1/search",
        lambda route: route.continue_() if "w5" in route.request.post_data else None,
    )
    page.get_by_label("Search query").fill("w4 w4 w4")
    page.wait_for_timeout(200)  # past the pause of typing: it is under way, and stays so
    page.get_by_label("Search query").fill("w5 w6")
    wait_for(page, served, "w5 w6", POINT)


def test_moving_the_sliders_moves_the_point_and_the_list(page, served):
    dims, precision = (stage(page).get_by_label(name) for name in ("Dims", "Precision"))
    dims.focus()
    page.keyboard.press("End")
    expect(page.locator("#point")).to_have_value("64:binary@20>64:float16")
    expect(dims).to_have_attribute("aria-valuetext", "64")
    wait_for(page, served, QUESTION, "64:binary@20>64:float16")
    precision.focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, served, QUESTION, "64:int2@20>64:float16")
    stage(page).get_by_label("Shortlist").focus()
    page.keyboard.press("Home")
    expect(page.locator("#point")).to_have_value("64:int2@10>64:float16")
    wait_for(page, served, QUESTION, "64:int2@10>64:float16")


def test_a_slider_can_be_dragged(page, served):
    box = stage(page).get_by_label("Dims").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, middle)
    page.mouse.down()
    for share in (0.3, 0.6, 0.98):
        page.mouse.move(box["x"] + share * box["width"], middle)
    page.mouse.up()
    expect(page.locator("#point")).to_have_value("64:binary@20>64:float16")
    wait_for(page, served, QUESTION, "64:binary@20>64:float16")


def test_a_move_does_not_ask_for_full_precision_again(page):
    bodies = []
    page.on("request", lambda request: bodies.append(request.post_data_json))
    stage(page).get_by_label("Dims").press("ArrowRight")
    expect(page.locator("#cost")).to_contain_text("scan 32:binary")
    assert [body["explain"] for body in bodies if body] == ["stages"]


def test_the_text_of_the_point_moves_the_sliders(page, served):
    page.locator("#point").fill("32:int8@50>64:float16")
    wait_for(page, served, QUESTION, "32:int8@50>64:float16")
    expect(stage(page).get_by_label("Dims")).to_have_attribute("aria-valuetext", "32")
    expect(stage(page).get_by_label("Precision")).to_have_attribute("aria-valuetext", "int8")
    expect(stage(page).get_by_label("Shortlist")).to_have_attribute("aria-valuetext", "50")
    expect(page.locator("#point-words")).to_contain_text("Scans the first 32 dims at 8 bits each")
    page.locator("#point").fill("16:int4")
    wait_for(page, served, QUESTION, "16:int4")
    expect(page.locator(".stage")).to_have_count(1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("16:int5", "precision 'int5' is not one of"),
        ("16:int4@5", "the last stage returns k"),
        ("17:int4", "dim=17 is not one of 64, 32, 16"),
        ("nonsense", "'nonsense' is neither a tier"),
    ],
)
def test_an_invalid_point_shows_an_error_and_changes_nothing(page, served, text, told):
    before = found(page)
    page.locator("#point").fill(text)
    expect(page.locator("#error")).to_contain_text(told)
    assert found(page) == before
    expect(page.locator("#point")).to_have_value(text)
    page.locator("#point").fill("16:int4")
    wait_for(page, served, QUESTION, "16:int4")
    expect(page.locator("#error")).to_be_hidden()


def test_an_invalid_filter_shows_an_error_and_a_valid_one_filters(page, served):
    page.get_by_label("Filter").fill("year >=")
    expect(page.locator("#error")).to_be_visible()
    expect(page.locator("#results .hit")).to_have_count(10)
    page.get_by_label("Filter").fill("year >= 2019")
    expect(page.locator("#error")).to_be_hidden()
    expect(page.locator("#results .hit .meta").first).to_contain_text("year 2019")
    (ids,) = served.index.search([QUESTION], 10, where="year >= 2019").ids
    expect(page.locator("#results .hit").last).to_have_attribute("data-doc", ids[-1])


@pytest.mark.parametrize(("name", "point"), TIERS.items())
def test_a_preset_is_one_press(page, served, name, point):
    button = page.locator("#presets").get_by_role("button", name=name)
    button.click()
    wait_for(page, served, QUESTION, str(point))
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#point")).to_have_value(str(point))


def test_stages_come_and_go(page, served):
    page.locator("#point").fill("16:int4")
    page.get_by_role("button", name="add a rescoring stage").click()
    wait_for(page, served, QUESTION, "16:int4@200>64:float16")
    expect(page.locator(".stage")).to_have_count(2)
    expect(stage(page, 1).get_by_label("Dims")).to_be_focused()
    page.get_by_role("button", name="Remove stage 2").click()
    wait_for(page, served, QUESTION, "16:int4")


def test_arrows_and_losses_are_those_against_full_precision(page, served):
    page.locator("#point").fill("16:binary")
    ids = wait_for(page, served, QUESTION, "16:binary")
    truth = exact(served, QUESTION)
    lost = [id_ for id_ in truth if id_ not in ids]
    assert lost, "choose a question that loses something"
    rows = page.locator("#results .lost")
    expect(rows).to_have_count(len(lost))
    assert [row.get_attribute("data-doc") for row in rows.all()] == lost
    expect(rows.first).to_contain_text(f"Rank {truth.index(lost[0]) + 1} at full precision")
    for rank, id_ in enumerate(ids, 1):
        moved = page.locator(f'#results [data-doc="{id_}"] .moved')
        if id_ not in truth:
            expect(moved).to_contain_text("new")
        else:
            way = truth.index(id_) + 1 - rank
            sign = "=" if way == 0 else f"{'▲' if way > 0 else '▼'}\u2009{abs(way)}"
            expect(moved).to_contain_text(sign)
    expect(page.locator("#summary")).to_contain_text(
        f"{10 - len(lost)} of 10 retained, {len(lost)} lost"
    )


def test_arrows_can_be_against_the_last_setting(page, served):
    page.wait_for_timeout(1000)  # what comes sooner belongs to the same change
    before = found(page)
    page.locator("#point").fill("16:int8")
    ids = wait_for(page, served, QUESTION, "16:int8")
    page.get_by_label("the previous setting").check()
    fresh = [id_ for id_ in ids if id_ not in before]
    expect(page.locator("#results .moved.new")).to_have_count(len(fresh))
    expect(page.locator("#summary")).to_contain_text("compared with the previous setting")


def test_the_rank_after_every_stage_is_shown(page, served):
    explained = served.index.explain([QUESTION], 10, point=LOSING)
    shortlist = explained.stages[0].hits.ids[0]
    truth = exact(served, QUESTION)
    page.get_by_text("Show as a table").click()
    rows = page.locator("#stage-ranks tbody tr")
    for row in rows.all():
        id_ = row.get_attribute("data-doc")
        expected = [_place(ids, id_) for ids in (shortlist, explained.hits.ids[0], truth)]
        assert row.locator("td").all_text_contents() == expected
    deepest = max(shortlist.index(id_) for id_ in explained.hits.ids[0]) + 1
    assert deepest < 20
    expect(page.locator("#stage-ranks")).to_contain_text(f"rank {deepest} of 20")
    expect(page.locator("#cost tbody tr")).to_have_count(4)
    expect(page.locator("#cost")).to_contain_text("rescore 64:float16")


def _place(ids, id_):
    return str(ids.index(id_) + 1) if id_ in ids else "–"


def test_the_suggested_shortlist_gives_the_same_results(page):
    before = found(page)
    said = page.locator("#stage-ranks").inner_text()
    (keep,) = re.findall(r"a shortlist of (\d+) would give the same results", said)
    page.locator("#point").fill(f"16:binary@{keep}>64:float16")
    expect(page.locator("#cost")).to_contain_text("scan 16:binary")
    expect(page.locator("#cost tbody td").filter(has_text=re.compile(f"^{keep}$"))).to_have_count(1)
    assert found(page) == before


def test_a_relevant_document_is_marked_or_reported_as_missed(page, served):
    for example in served.examples:
        page.locator("#examples").get_by_role("button", name=example.text).click()
        ids = wait_for(page, served, example.text, POINT)
        here = [id_ for id_ in example.relevant if id_ in ids]
        expect(page.locator("#results .hit .relevant")).to_have_count(len(here))
        shortlist = served.index.explain([example.text], 10).stages[0].hits.ids[0]
        for id_ in example.relevant:
            expected = (
                f"rank {shortlist.index(id_) + 1} after stage 1"
                if id_ in shortlist
                else "missed by stage 1"
            )
            expect(page.locator("#stage-ranks")).to_contain_text(f"“title of {id_}”: {expected}")


def test_a_point_of_the_curve_is_searched_with_at_a_click(page, served):
    page.locator('.spot[data-point="32:int4"]').click()
    expect(page.locator("#point")).to_have_value("32:int4")
    wait_for(page, served, QUESTION, "32:int4")
    expect(page.locator('.spot[aria-selected="true"]')).to_have_attribute("data-point", "32:int4")
    row = served.curve[OperatingPoint.parse("32:int4")]
    share = 100 * row.retention[served.curve.main_metric]
    expect(page.locator(".readout")).to_contain_text(f"retains {share:.1f}")


def test_a_point_of_the_curve_can_be_chosen_by_keys(page, served):
    page.locator("#point").fill("16:int4")
    expect(page.locator('.spot[aria-selected="true"]')).to_have_attribute("data-point", "16:int4")
    page.get_by_role("listbox").focus()
    page.keyboard.press("ArrowRight")
    active = page.get_by_role("listbox").get_attribute("aria-activedescendant")
    point = page.locator(f"#{active}").get_attribute("data-point")
    assert point != "16:int4"
    page.keyboard.press("Enter")
    expect(page.locator("#point")).to_have_value(point)


def test_a_point_that_was_not_measured_is_marked_on_the_curve(page):
    page.locator("#point").fill("16:binary@33>64:int8")
    expect(page.locator(".here text")).to_have_text("not measured")


def test_the_plan_is_shown_with_its_reasons(page, served):
    page.get_by_text("Why this point").click()
    for reason in served.plan.reasons:
        expect(page.locator("#plan")).to_contain_text(reason)
    page.locator("#plan").get_by_role("button", name=str(served.plan.point)).click()
    expect(page.locator("#point")).to_have_value(str(served.plan.point))


def test_own_lines_are_compared_at_every_prefix(open_page, address):
    page = open_page(address, "#view=compare")
    page.get_by_label("Texts to compare").fill("w1 w2\nw2 w3\n\nw9")
    tables = page.locator("#matrices table")
    expect(tables.first.locator("tbody tr")).to_have_count(3)
    expect(tables).to_have_count(3)
    answer = posted(f"{address}/v1/compare", {"texts": ["w1 w2", "w2 w3", "w9"]})
    for table, matrix in zip(tables.all(), answer["matrices"], strict=True):
        cells = [cell.replace("−", "-") for cell in table.locator("tbody td").all_text_contents()]
        assert [float(cell) for cell in cells] == pytest.approx(np.ravel(matrix), abs=0.0051)
    page.get_by_label("Texts to compare").fill("one line")
    expect(page.locator("#compare-summary")).to_contain_text("Enter 2 to 32 lines")
    expect(tables).to_have_count(3)


def test_a_vector_is_shown_with_its_prefix(open_page, address):
    page = open_page(address, "#view=embed")
    page.get_by_label("Text to embed").fill("w1 w2")
    page.locator("#embed-dims").get_by_label("Dims").press("Home")
    expect(page.locator("#vector .summary")).to_contain_text("16 of 64 dims contain")
    expect(page.locator("#vector rect")).to_have_count(64)
    expect(page.locator("#vector rect.truncated")).to_have_count(48)


NASTY = 'it\'s w1 "w2" $HOME `w3` \\ <b> é \U0001f600 w4'


def snippet(page, kind, view="search"):
    box = page.locator(f"#{view}-snippet")
    box.get_by_role("tab", name=kind, exact=True).click()
    return box.locator("code").inner_text()


def posted(url, body):
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_the_snippets_return_the_results_on_the_page(page, served):
    page.get_by_label("Search query").fill(NASTY)
    ids = wait_for(page, served, NASTY, POINT)
    answered = json.loads(snippet(page, "JSON response"))
    assert [hit["id"] for hit in answered["hits"]] == ids
    sent = json.loads(snippet(page, "JSON request"))
    assert sent == {"query": NASTY, "k": 10, "point": POINT}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(snippet(page, "Python"), {})
    titles = [hit["title"] for hit in answered["hits"]]
    assert [line.split("  ", 1)[1] for line in printed.getvalue().splitlines()] == titles
    if shutil.which("curl"):
        command = ["bash", "-c", snippet(page, "curl")]
        done = subprocess.run(command, capture_output=True, check=True)
        assert [hit["id"] for hit in json.loads(done.stdout)["hits"]] == ids


@pytest.mark.parametrize("view", ["compare", "embed"])
def test_the_snippets_of_other_views_run(open_page, address, view):
    page = open_page(address, f"#view={view}")
    expect(page.locator(f"#{view}-snippet code")).to_contain_text("curl")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(snippet(page, "Python", view), {})
    assert printed.getvalue()


def test_a_snippet_is_copied(open_page, address):
    page = open_page(address, "#q=w1", permissions=["clipboard-read", "clipboard-write"])
    expect(page.locator("#search-snippet code")).to_contain_text("v1/search")
    page.get_by_role("button", name="Copy").first.click()
    expect(page.locator("#search-snippet [role=status]")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#search-snippet code").inner_text()


def test_a_document_that_attacks_is_text(page, served):
    page.get_by_label("Search query").fill(ATTACK)
    row = page.locator("#results .hit").first
    expect(row.locator(".title")).to_have_text(ATTACK)
    expect(row).to_have_attribute("data-doc", ATTACKER)
    expect(row.locator(".meta")).to_contain_text("<i> <u>")
    assert page.locator("#results img, #results b, #results script, #results u").count() == 0
    assert page.evaluate("document.scripts.length") == 2
    page.goto(page.url.split("#")[0] + "#view=compare")
    page.get_by_label("Texts to compare").fill(f"{ATTACK}\n{ATTACK} twice")
    expect(page.locator("#matrices th[scope=row]").first).to_contain_text("<script>")
    assert page.locator("#matrices img").count() == 0


def test_the_content_security_policy_blocks_inline_scripts(open_page, address):
    page = open_page(address)
    page.evaluate("window.ran = false")
    blocked = page.evaluate(
        """() => new Promise((resolve) => {
            const told = (event) => resolve(event.effectiveDirective);
            addEventListener("securitypolicyviolation", told);
            const image = document.createElement("img");
            image.setAttribute("onerror", "window.ran = true");
            image.src = "data:,";
            document.body.append(image);
        })"""
    )
    assert blocked == "script-src-attr"
    assert page.evaluate("window.ran") is False
    (told,) = open_page.problems
    assert "inline event handler" in told
    open_page.problems.clear()


def test_everything_can_be_reached_and_done_by_keys(page, served):
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    reached = []
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUSED))
        if "API" in reached[-1]:
            break
    names = " | ".join(reached)
    for name in ("query", "where", "point", "Dims", "Precision", "Shortlist", "listbox", "Copy"):
        assert name in names, f"Tab does not reach {name}: {names}"
    page.locator("#query").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("w7 w8")
    wait_for(page, served, "w7 w8", POINT)


FOCUSED = """() => {
    const it = document.activeElement;
    const style = getComputedStyle(it);
    const isSeen = it === document.body || style.outlineStyle !== "none";
    if (!isSeen) return `INVISIBLE ${it.outerHTML.slice(0, 80)}`;
    const words = [it.id, it.role, it.closest("label")?.textContent, it.textContent.slice(0, 30)];
    return words.join(" ");
}"""


def test_focus_is_always_seen(page):
    for _ in range(40):
        page.keyboard.press("Tab")
        assert not page.evaluate(FOCUSED).startswith("INVISIBLE")


def test_results_are_announced_to_screen_readers(page):
    page.locator("#presets").get_by_role("button", name="fast").click()
    expect(page.locator("#announcement")).to_contain_text("10 results at 16:int4")


@pytest.mark.parametrize("view", ["search", "compare", "embed"])
@pytest.mark.parametrize("width", [360, 800, 1920])
def test_nothing_is_wider_than_the_screen(open_page, address, view, width):
    point = "16:binary@100>32:int8@40>64:float16"
    page = open_page(address, f"#view={view}&q=attack&point={point}", width=width, height=760)
    expect(page.locator(f"#{view}-snippet code")).to_contain_text("curl")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def ground(page):
    return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


def test_dark_is_as_the_system_has_it_until_the_button_says_otherwise(open_page, address):
    assert ground(open_page(address, color_scheme="light")) == "rgb(255, 255, 255)"
    page = open_page(address, color_scheme="dark")
    assert ground(page) == "rgb(21, 23, 27)"
    page.get_by_role("button", name="Switch between light and dark theme").click()
    assert ground(page) == "rgb(255, 255, 255)"
    page.reload()
    assert ground(page) == "rgb(255, 255, 255)"


COUNT_ANIMATIONS = """() => {
    window.moves = 0;
    const animate = Element.prototype.animate;
    Element.prototype.animate = function (...given) {
        window.moves += 1;
        return animate.apply(this, given);
    };
}"""


@pytest.mark.parametrize(("motion", "moves"), [("no-preference", True), ("reduce", False)])
def test_rows_move_unless_movement_is_unwelcome(open_page, address, served, motion, moves):
    page = open_page(address, f"#q={QUESTION}", reduced_motion=motion)
    expect(page.locator("#results .hit")).to_have_count(10)
    page.evaluate(COUNT_ANIMATIONS)
    page.locator("#point").fill("16:binary")
    wait_for(page, served, QUESTION, "16:binary")
    assert bool(page.evaluate("window.moves")) == moves


def test_a_server_with_keys_asks_for_one_and_keeps_it_in_the_tab(open_page, served):
    # Its own folders stay open: nothing is closed before the tests of this file end.
    with running(create_app(_unclosed(served), Settings(keys=(KEY,)))) as address:
        page = open_page(address, "#q=w1")
        page.locator("#key").fill("a-wrong-key-that-is-long")
        page.locator("#key").press("Enter")
        expect(page.locator("#key-why")).to_have_text("The server does not accept this key.")
        page.locator("#key").fill(KEY)
        page.locator("#key").press("Enter")
        expect(page.locator("#results .hit")).to_have_count(10)
        assert KEY not in snippet(page, "curl")
        assert "$NESTVEC_API_KEY" in snippet(page, "curl")
        page.reload()
        expect(page.locator("#results .hit")).to_have_count(10)
        expect(page.locator("#key-form")).to_be_hidden()


def _unclosed(served):
    class Unclosed(Served):
        def close(self):
            pass

    return Unclosed(**{name: getattr(served, name) for name in Served.__dataclass_fields__})


def test_a_full_queue_is_waited_for(page, served):
    answers = [{"status": 429, "headers": {"Retry-After": "1"}, "json": {"error": {}}}]
    page.route(
        "**/v1/search",
        lambda route: route.fulfill(**answers.pop()) if answers else route.continue_(),
    )
    page.locator("#point").fill("16:int4")
    wait_for(page, served, QUESTION, "16:int4")
    expect(page.locator("#error")).to_be_hidden()


def test_an_unreachable_server_shows_an_error_and_changes_nothing(page, served):
    before = found(page)
    page.route("**/v1/search", lambda route: route.abort())
    page.locator("#point").fill("16:int4")
    expect(page.locator("#error")).to_contain_text("The server does not respond")
    assert found(page) == before
    page.unroute("**/v1/search")
    page.locator("#point").fill("16:int8")
    wait_for(page, served, QUESTION, "16:int8")
    expect(page.locator("#error")).to_be_hidden()


def test_without_an_index_the_page_compares_and_embeds(open_page):
    with running(create_app(Served("alone", NestedHashEncoder()))) as address:
        page = open_page(address)
        expect(page.locator("#matrices table")).to_have_count(3)
        page.get_by_role("link", name="Embed").click()
        expect(page.locator("#vector rect")).to_have_count(64)
        page.get_by_role("link", name="Search").click()
        expect(page.get_by_role("heading", name="No index is served")).to_be_visible()
        expect(page.locator("#no-index")).to_contain_text("nestvec index build")


def test_where_only_tiers_are_open_the_sliders_rest_and_the_tiers_work(open_page, served):
    settings = Settings(allow_any_point=False)
    with running(create_app(_unclosed(served), settings)) as address:
        page = open_page(address, f"#q={QUESTION}")
        expect(page.get_by_text("Searches use the operating point of the index")).to_be_visible()
        expect(stage(page).get_by_label("Dims")).to_be_disabled()
        page.locator("#presets").get_by_role("button", name="fast").click()
        wait_for(page, served, QUESTION, str(TIERS["fast"]))


def test_an_empty_page_opens_with_a_question_that_is_answered(open_page, address):
    page = open_page(address)
    expect(page.locator("#results .hit .relevant").first).to_be_visible()


def test_without_a_curve_the_page_says_how_to_get_one(open_page, served):
    bare = _unclosed(served)
    object.__setattr__(bare, "curve", None)
    object.__setattr__(bare, "plan", None)
    with running(create_app(bare)) as address:
        page = open_page(address, "#q=w1")
        expect(page.locator("#results .hit")).to_have_count(10)
        expect(page.locator("#curve")).to_contain_text("No curve is served")


@pytest.mark.parametrize(
    ("min_dim", "shown"), [(24, "64 dims or any number from 24"), (None, "64 dims")]
)
def test_the_page_shows_the_range_of_dims(open_page, min_dim, shown):
    model = NestedHashEncoder(fake_info(min_dim=min_dim))
    with running(create_app(Served("tiny", model))) as address:
        page = open_page(address)
        expect(page.locator("#served")).to_have_text(f"tiny · {shown}")


def test_back_and_forward_walk_through_the_views(page):
    page.get_by_role("link", name="Compare").click()
    expect(page.locator("#compare")).to_be_visible()
    page.go_back()
    expect(page.locator("#search")).to_be_visible()
    expect(page.get_by_label("Search query")).to_have_value(QUESTION)
    page.go_forward()
    expect(page.locator("#compare")).to_be_visible()


POINTS = (
    *("64:int4", " 64:binary@200>512:int8 ", "64:binary@1000 > 256:int8@100 > 1024:float16"),
    *(
        "",
        "64",
        "0:int4",
        "64:int5",
        "64:int4@0>64:int8",
        "64:int4>64:int8",
        "64:int4@5",
        "64:int4>",
    ),
    *("-1:int4", "64:INT4", "64:int4@10>64:int8@20>64:float16", "1e3:int4", "64:int4@5@6>64:int8"),
)


def test_the_page_reads_points_as_the_library_does(page):
    read = """async (text) => {
        const { parsePoint, formatPoint } = await import("/page/point.js");
        const stages = parsePoint(text);
        return stages && formatPoint(stages);
    }"""
    for text in POINTS:
        try:
            expected = str(OperatingPoint.parse(text))
        except InvalidArgument:
            expected = None
        assert page.evaluate(read, text) == expected, text
