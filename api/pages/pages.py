"""All pages, in one list for the application."""

from fastapi import APIRouter

from api.pages import files
from api.pages.routes import decisions, policy, queue, results, review, samples, sign_in, upload, work

ROUTERS: tuple[APIRouter, ...] = (
    files.router,
    sign_in.open_router,
    sign_in.router,
    review.router,
    samples.router,
    decisions.router,
    queue.router,
    results.router,
    work.router,
    policy.router,
    upload.router,
)
