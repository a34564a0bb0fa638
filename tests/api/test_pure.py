"""Parts of the API that are functions of values: tokens, limits, JSON, traces, places, settings of a page."""

import base64
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.bodies import INTEGER_MAX, check_content_type, read_json
from api.edge import choose_request_id, continue_trace
from api.limits import Buckets, Counts, Rate, Recent, name_address
from api.pagination import read_token, sign_token
from api.problems import Problem, find_status
from api.readiness import Readiness
from api.waiting import Pace
from fakesieve.errors import Unavailable
from fakesieve.objects import VideoRef
from fakesieve.places import Places, parse_place
from fakesieve.reasons import Reason

KEY = b"key"
NUMBERS = st.integers(-INTEGER_MAX, INTEGER_MAX) | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.text(max_size=20) | NUMBERS | st.none() | st.booleans()


@given(st.lists(KEYS, max_size=4), st.text(max_size=30))
def test_a_token_gives_back_its_position(position, binding):
    assert list(read_token(KEY, sign_token(KEY, position, binding), binding)) == position


@given(st.text(max_size=80))
def test_a_text_that_we_have_not_made_is_no_token(text):
    with pytest.raises(Problem) as caught:
        read_token(KEY, text, "list")
    assert caught.value.reason is Reason.INVALID_PAGE_TOKEN


@given(st.integers(0, 200), st.integers(1, 255))
def test_no_changed_token_is_read(place, change):
    token = sign_token(KEY, ["2026-01-01", "job_1"], "list")
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[place % len(raw)] ^= change
    with pytest.raises(Problem):
        read_token(KEY, base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode(), "list")


def test_a_token_is_bound_to_its_list_and_to_our_key():
    token = sign_token(KEY, [1], "jobs")
    for key, binding in ((KEY, "batches"), (b"other", "jobs")):
        with pytest.raises(Problem):
            read_token(key, token, binding)


LETTERS = st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")
TEXTS = st.text(LETTERS, max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_plain_json_is_read_as_it_is(value):
    assert read_json(json.dumps(value).encode()) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_a_problem(body):
    try:
        read_json(body)
    except Problem as problem:
        assert problem.status == 422  # noqa: PT017 - nothing else may be raised


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", 'application/json; charset="UTF-8"']
)
def test_json_may_name_its_charset(kind):
    check_content_type(kind)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_bucket_is_emptied_and_fills_again():
    clock = Clock()
    buckets = Buckets(Rate(2, 0.5), clock)
    assert [buckets.take("a").is_refused for _ in range(3)] == [False, False, True]
    assert buckets.take("a").retry_s == 2
    assert not buckets.take("b").is_refused
    clock.now_s = 2.0
    assert not buckets.take("a").is_refused
    assert buckets.take("a").is_refused


@given(st.lists(st.floats(0, 5), max_size=60), st.integers(1, 5), st.floats(0.1, 10))
def test_no_more_pass_than_the_burst_and_what_time_has_given(pauses, burst, per_s):
    clock = Clock()
    buckets = Buckets(Rate(burst, per_s), clock)
    passed = 0
    for pause in pauses:
        clock.now_s += pause
        passed += not buckets.take("a").is_refused
    assert passed <= burst + math.floor(clock.now_s * per_s + 1e-6)


def test_counts_have_a_limit_for_each_name():
    counts = Counts(1)
    assert counts.enter("a")
    assert not counts.enter("a")
    assert counts.enter("b")
    counts.leave("a")
    assert counts.enter("a")


def test_a_trace_goes_on_and_a_wrong_one_is_replaced():
    given_trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    assert continue_trace(given_trace)[:36] == given_trace[:36]
    assert continue_trace(given_trace) != given_trace
    for wrong in (None, "x", "00-" + "0" * 32 + "-" + "2" * 16 + "-01", given_trace.upper() + "A"):
        assert continue_trace(wrong)[3:35] not in ("1" * 32, "0" * 32)


@pytest.mark.parametrize("given_id", [None, "", "a b", "x" * 101, "a\nb", "<x>"])
def test_a_request_gets_an_id_of_ours_where_its_own_is_no_word(given_id):
    assert choose_request_id(given_id).startswith("req_")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_status(reason):
    assert 400 <= find_status(reason) < 600
    if reason.is_retryable and find_status(reason) == 500:
        pytest.fail("what may be tried again is no 500")


PLACES = Places.read("ten_a", "videos", ("s3://videos/", "s3://acme/in/"))


@pytest.mark.parametrize(
    ("bucket", "key", "may"),
    [
        ("videos", "clip.mp4", True),
        ("videos", "uploads/0abc/clip.mp4", True),
        ("videos", "uploads/ten_a/upl_1", True),
        ("videos", "uploads/ten_b/upl_1", False),
        ("videos", "exports/ten_b/x.csv", False),
        ("videos", ".fakesieve/sweeps/x", False),
        ("acme", "in/a.mp4", True),
        ("acme", "in", False),
        ("acme", "in-of-others/a.mp4", False),
        ("acme", "../in/a.mp4", False),
        ("other", "uploads/ten_a/x", False),
    ],
)
def test_a_tenant_names_what_lies_under_its_places(bucket, key, may):
    assert PLACES.may_read(VideoRef(bucket, key)) is may


def test_a_tenant_without_places_names_its_uploads_alone():
    places = Places.read("ten_a", "videos", ())
    assert places.may_read(VideoRef("videos", "uploads/ten_a/upl_1"))
    assert not places.may_read(VideoRef("videos", "clip.mp4"))
    assert not places.may_list("videos", "")


@pytest.mark.parametrize("place", ["s3://b", "b/", "s3:///", "s3://b/in", "https://b/", "s3://b\0/"])
def test_a_place_that_could_cover_others_is_refused(place):
    with pytest.raises(ValueError, match=r"place looks like|bucket's name"):
        parse_place(place)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9%eth0", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_strangers_are_counted_by_the_network_of_one_subscriber(host, name):
    assert name_address(host) == name


def test_a_bucket_is_empty_until_a_token_is_back():
    now = [0.0]
    buckets = Buckets(Rate(1, 0.5), lambda: now[0])
    assert not buckets.is_empty("a")
    buckets.take("a")
    assert (buckets.is_empty("a"), buckets.is_empty("b")) == (True, False)
    now[0] = 1.0
    assert buckets.find_empty("a") == buckets.take("a")
    now[0] = 2.0
    assert not buckets.is_empty("a")
    assert buckets.find_empty("a") is None


def test_what_was_found_is_kept_for_a_number_of_names():
    found = Recent[int]()
    for number in range(10_001):
        found.keep(str(number), number)
    assert (found.get("0"), found.get("1"), found.get("10000")) == (None, 1, 10_000)
    for _ in range(2):
        found.forget("1")
        assert found.get("1") is None


def test_a_body_with_very_many_names_is_read_in_one_pass():
    names = ",".join(f'"{number:x}":1' for number in range(60_000))
    with pytest.raises(Problem, match="stands twice"):
        read_json(b"{" + names.encode() + b',"ea5f":1}')
    assert len(read_json(b"{" + names.encode() + b"}")) == 60_000


@pytest.mark.parametrize(("look_s", "pause_s"), [(0.01, 0.5), (0.2, 1.8), (5.0, 10.0)])
def test_who_waits_for_something_slow_looks_less_often(look_s, pause_s):
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert pace.pause_s == 0.5
    with pace.measure():
        now[0] += look_s
    assert pace.pause_s == pytest.approx(pause_s)


def test_readiness_is_looked_up_once_a_second():
    now, looks = [0.0], list[float]()

    def look():
        looks.append(now[0])
        if len(looks) == 2:
            raise Unavailable(Reason.DATABASE_UNAVAILABLE, "away")

    readiness = Readiness(look, lambda: now[0])
    for _ in range(5):
        readiness.check()
    now[0] = 1.0
    for _ in range(2):
        with pytest.raises(Unavailable):
            readiness.check()
    now[0] = 2.0
    readiness.check()
    assert looks == [0.0, 1.0, 2.0]
