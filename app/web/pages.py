"""The pages."""

from __future__ import annotations

from flask import Blueprint, render_template

from app.serving.registry import Registry


def blueprint(registry: Registry) -> Blueprint:
    """`/`, the list of models."""
    routes = Blueprint("pages", __name__)

    @routes.get("/")
    def home() -> str:
        return render_template("home.html", models=[e.summary() for e in registry.entries()])

    return routes
