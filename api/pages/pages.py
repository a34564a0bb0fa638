"""All pages, in one list for the application."""

from fastapi import APIRouter

from api.pages import files
from api.pages.routes import (
    batches,
    decisions,
    keys,
    log,
    models,
    notes,
    people,
    policy,
    provider,
    queue,
    queue_items,
    queue_known,
    results,
    review,
    samples,
    sign_in,
    status,
    upload,
    views,
    webhooks,
    work,
)

ROUTERS: tuple[APIRouter, ...] = (
    files.router,
    sign_in.open_router,
    sign_in.router,
    provider.open_router,
    review.router,
    samples.router,
    decisions.router,
    notes.router,
    queue.router,
    queue_items.router,
    queue_known.router,
    log.router,
    results.router,
    views.router,
    work.router,
    batches.router,
    policy.router,
    models.router,
    upload.router,
    webhooks.router,
    keys.router,
    people.router,
    status.router,
)
