"""Results as files: how many a filter finds, and all of them sent to the browser."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from sqlalchemy.orm import Session

from api.dependencies import ServicesDep
from api.pages.forms import FormDep
from api.pages.people import Person, PersonDep
from api.pages.router import PageRouter, PageTransaction, name_viewer, prove_person
from api.pages.routes.results import FILTER_LETTERS_MAX, ORDERS
from api.pages.templates import render
from api.problems import Problem
from api.routes.exports import ROWS_MAX, send_results
from fakesieve.filters.check import read_filter
from fakesieve.filters.order import read_order
from fakesieve.filters.tree import FilterInvalid
from fakesieve.reasons import Reason
from fakesieve.records.analysis_lists import PAGE_MAX, AnalysisQuery, count_up_to
from fakesieve.records.review_known import count_left_out
from fakesieve.records.tenants import Caller
from fakesieve.result_files import may_write_parquet
from fakesieve.values.files import FileFormat

COUNT_MAX, COUNT_MS = 1_000_000, 2_000
"""Analyses are counted so far, and for so long. Without a number they are sent as well."""
FORMS: Mapping[FileFormat, str] = {
    FileFormat.CSV: "CSV",
    FileFormat.JSONL: "JSON lines",
    FileFormat.PARQUET: "Parquet",
}

router = PageRouter()


@router.get("/results/export")
def show_export(
    request: Request,
    person: PersonDep,
    session: PageTransaction,
    asked: Annotated[str, Query(alias="filter", max_length=FILTER_LETTERS_MAX)] = "",
    order: Annotated[str, Query(max_length=100)] = "create_time desc",
) -> Response:
    """Show how many analyses a filter finds, before they are sent."""
    query = read_query(person, asked, order)
    return render(
        request,
        "results_export.html",
        asked=asked,
        order=order,
        orders=ORDERS,
        count=_count(session, query),
        count_max=COUNT_MAX,
        rows_max=ROWS_MAX,
        forms=_list_forms(),
        back=urlencode({"filter": asked, "order": order}),
        kept=count_left_out(session),
    )


def _list_forms() -> Mapping[FileFormat, str]:
    has_parquet = may_write_parquet()
    return {form: name for form, name in FORMS.items() if has_parquet or form is not FileFormat.PARQUET}


def _count(session: Session, query: AnalysisQuery) -> int | None:
    """Return how many analyses there are, None where counting takes too long."""
    try:
        with session.begin_nested():
            return count_up_to(session, query, COUNT_MAX + 1, COUNT_MS)
    except FilterInvalid:  # the filter was read: it can only be slow
        return None


@router.post("/results/export")
def take_results(form: FormDep, request: Request, person: PersonDep, services: ServicesDep) -> Response:
    """Send all that a filter finds as a file. It is a form, as the audit log has who took results out."""
    wanted = form.read_choice("format", FileFormat)
    return send_results(
        request,
        Caller(person.id, person.tenant_id, frozenset()),
        services,
        read_query(person, form.read("filter"), form.read("order")),
        wanted,
        viewer=name_viewer(person),
        prove=partial(prove_person, request, services, person),
    )


def read_query(person: Person, asked: str, order: str) -> AnalysisQuery:
    """Return what an address asks for, with what people say, as the list shows it.

    Raises FilterInvalid, and ``Problem`` (INVALID_REQUEST).
    """
    if order not in ORDERS:
        raise Problem(Reason.INVALID_REQUEST, "there is no such order")
    wanted, by = read_filter(asked or None), read_order(order)
    return AnalysisQuery(person.tenant_id, wanted, by, limit=PAGE_MAX, with_words=True)
