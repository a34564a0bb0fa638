"""Report pages: self-contained, inert, honest, and readable without seeing the drawing."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engine.output.report import base_rate_table, describe_entry, render_report, write_index, write_report
from engine.policy import Threshold
from engine.results import EvidenceReason
from engine.sandbox.handle import Sandbox
from tests.engine.output.drawn import LIMITS, drawn_result
from tests.engine.output.made_results import (
    BUNDLE,
    FORGED_LOGITS,
    all_results,
    make_faceless_result,
    make_failed_result,
    make_result,
)
from tests.media import draw_clip

RESULTS = all_results()


class Page(HTMLParser):
    """What tests ask of a page: tags with attributes, the text, and the style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.style, self._in_style = "", "", False
        self.feed(html)
        self.words = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False
        self.text += " " if tag in ("td", "th") else ""

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.style += data
        else:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(result, **options) -> Page:
    return Page(render_report(result, BUNDLE, (), **options))


@pytest.mark.parametrize("name", RESULTS)
def test_pages_load_and_run_nothing(name: str) -> None:
    page = page_of(RESULTS[name])
    (policy,) = (
        tag["content"] for tag in page.named("meta") if tag.get("http-equiv") == "Content-Security-Policy"
    )
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert not page.named("script")
    assert not page.named("link")
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in page.named("img"))
    assert not [a for _, a in page.tags if any(key.startswith("on") or key == "style" for key in a)]


def test_the_verdict_is_in_words_with_all_that_it_rests_on() -> None:
    words = page_of(make_result()).words
    assert "likely manipulated" in words
    assert "95 % interval" in words
    assert "policy balanced@1: likely manipulated from 0.70, no manipulation found below 0.30" in words
    assert "100 % of the video's time could be scored: 32 of 32 faces in 32 looked-at frames" in words
    assert "It is no proof in either direction" in words
    assert "does not mean authentic" in words
    assert not re.search(r"\bfake\b", words, re.IGNORECASE)


def test_names_and_messages_cannot_become_markup() -> None:
    name = Path("<img src=x onerror=alert(1)>\u202e.mp4")
    html = render_report(make_failed_result(name), BUNDLE, ())
    assert "<img" not in html
    assert "\u202e" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;\\u202e.mp4" in html


def test_every_face_has_a_lane_and_a_row() -> None:
    page = page_of(make_result({0: FORGED_LOGITS, 1: [EvidenceReason.TOO_DARK] * 32}))
    assert "face 0" in page.words
    assert "face 1" in page.words
    assert len(page.named("polyline")) == 2  # one line, drawn twice for its edge; the dark face has none
    assert "0:00.0 to 0:32.0 not scored: too dark" in page.words


def test_what_the_drawing_shows_stands_in_a_table_too() -> None:
    words = page_of(make_result({0: FORGED_LOGITS}, cuts_us=[10_500_000])).words
    assert "0:10.0 to 0:22.0 suspicious" in words
    assert "0:10.5 cut" in words
    assert words.count("0:11.5") >= 1  # each sample has its row


def test_drawings_have_a_name_for_screen_readers() -> None:
    drawings = [tag for tag in page_of(make_result()).named("svg") if tag.get("role") == "img"]
    assert len(drawings) == 2
    assert all(tag["aria-label"] for tag in drawings)


def test_every_cell_of_a_table_that_becomes_cards_on_a_phone_has_its_label() -> None:
    html = render_report(make_result(), BUNDLE, ())
    (table,) = re.findall(r'<table class="cards">(.*?)</table>', html, re.DOTALL)
    assert re.findall(r"<th[^>]*>([^<]*)", table) == re.findall(r'<td[^>]* data-label="([^"]*)"', table)
    assert 'class="scroll timeline"' in html  # too small to read if it were shrunk to a phone's width


def test_without_a_face_the_reason_is_hatched_and_told() -> None:
    html = render_report(make_faceless_result(), BUNDLE, ())
    assert "no verdict: no face found" in html
    assert 'fill="url(#hatch)"' in html
    assert "0:00.0 to 0:32.0 not scored: no face in sight" in html


def test_failed_inputs_get_reason_and_hint() -> None:
    words = page_of(make_failed_result()).words
    assert "NOT_VIDEO: the first bytes are those of no known media" in words
    assert "What can be done: give a video." in words


def test_facts_of_the_model_and_its_card_are_told() -> None:
    threshold = Threshold(0.01, 0.8, 0.03, 3, 200, extrapolated=True)
    bundle = replace(BUNDLE, card={"training data": "drawn faces"}, thresholds=(threshold,))
    words = Page(render_report(make_result(), bundle, ())).words
    assert "training data drawn faces" in words
    assert (
        "false alarms 1 in 100 from score 0.80, on 200 real inputs (a guess: fewer than 10 reach it)" in words
    )
    assert "none: scores are no probabilities" in words


def test_a_card_that_leaves_out_what_a_reader_has_to_know_is_said_to() -> None:
    bundle = replace(BUNDLE, card={"training_data": "drawn faces"})
    words = Page(render_report(make_result(), bundle, ())).words
    assert "error rates The card says nothing of it" in words
    assert "training data The card" not in words


def test_base_rates_are_those_of_bayes() -> None:
    assert [(row.forged, row.flagged) for row in base_rate_table()] == [
        ("1 in 100", ("45 %", "89 %", "99 %")),
        ("1 in 1,000", ("7 %", "44 %", "89 %")),
        ("1 in 10,000", ("1 %", "7 %", "44 %")),
    ]


def test_equal_scans_give_equal_pages() -> None:
    assert render_report(make_result(), BUNDLE, ()) == render_report(make_result(), BUNDLE, ())


def test_a_written_report_shows_frames_with_and_without_the_map(tmp_path: Path, sandbox: Sandbox) -> None:
    clip = draw_clip(tmp_path / "clip.mp4", width=480, height=320, frames=52)
    write_report(
        drawn_result(clip, sandbox), BUNDLE, tmp_path / "a.html", sandbox, LIMITS, overlay="clip.overlay.mp4"
    )
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    pictures = [str(image["src"]) for image in page.named("img")]
    assert len(pictures) >= 2
    assert len(pictures) % 2 == 0
    assert len(set(pictures)) == len(pictures)
    assert all(image["alt"] for image in page.named("img"))
    assert {"href": "clip.overlay.mp4"} in page.named("a")


def test_the_index_lists_every_input_with_its_pages(tmp_path: Path) -> None:
    entries = [
        describe_entry(make_result(), report="made.report.html", overlay="made.overlay.mp4", note="ours"),
        describe_entry(make_failed_result(Path("<b>.mp4")), report="b.report.html", overlay=None),
    ]
    write_index(entries, BUNDLE, tmp_path / "index.html", note="All real.")
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "fakesieve: 2 inputs" in page.words
    assert [tag["href"] for tag in page.named("a")] == [
        "made.report.html",
        "made.overlay.mp4",
        "b.report.html",
    ]
    assert not page.named("b")
    assert "NOT_VIDEO" in page.words


def test_the_index_says_of_its_verdicts_what_each_report_says(tmp_path: Path) -> None:
    bundle = replace(
        BUNDLE, card={"training data": "drawn faces", "error rates": "3 of 25 real clips flagged"}
    )
    entry = describe_entry(make_result(), report=None, overlay=None)
    write_index([entry], bundle, tmp_path / "index.html")
    words = Page((tmp_path / "index.html").read_text(encoding="utf-8")).words
    assert "This is triage for people" in words
    assert "name made" in words
    assert "training data drawn faces" in words
    assert "error rates 3 of 25 real clips flagged" in words
    assert "1 in 1,000 7 % 44 % 89 %" in words
    assert "does not mean authentic" in words
