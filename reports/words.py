"""Headings and labels of every report by key; a brand file's `strings` replace them.

Sentences and the words of a verdict are not here: no brand file can turn "not met" into "met". Nor
are columns and captions of tables, the values in tiles and the aspects: they are English.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from brightrun.brand import Brand
from brightrun.errors import ConfigurationError

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "validation_report": "Validation report",
        "comparison": "Run comparison",
        "cost_report": "Cost report",
        "one_pager": "What was shown",
        "battlecard": "Battlecard",
        "sources": "Sources",
        "prepared_for": "Prepared for",
        "contents": "Contents",
        "page": "Page",
        "of": "of",
        "first": "Read this first",
        "summary": "Summary",
        "changed": "What changed, and how sure we are",
        "cost-summary": "What it cost",
        "limits": "What this report does not show",
        "verdicts": "Verdicts",
        "meaning": "What it can mean for the business",
        "ei": "Emotional intelligence",
        "perplexity": "Perplexity",
        "training": "Training",
        "knowledge": "Knowledge retention",
        "lost": "Questions that were lost",
        "markers": "Style markers",
        "voice": "Brand voice",
        "safety": "Safety",
        "examples": "Before and after",
        "benefit": "Cost and benefit",
        "cuts": "What was cut",
        "data": "Training data",
        "cost": "Cost and time",
        "method": "Method",
        "facts": "Numbers behind the verdicts",
        "assurance": "Guarantee and support",
        "testimonials": "What clients say",
        "provenance": "Provenance",
        "client": "Client",
        "models": "Models side by side",
        "contamination": "What is tested against the training data",
        "feedback": "Data feedback",
        "judges": "Who judged",
        "correctness": "Financial content that is not right",
        "results": "Results",
        "losses": "Loss",
        "configuration": "Configuration",
        "notes": "Notes",
        "by-job": "By job",
        "estimates": "Estimates",
        "spent-tile": "Spent",
        "revenue-tile": "Revenue",
        "margin-tile": "Margin",
        "jobs-tile": "Jobs",
        "waste": "Starting, losses and spot",
        "file": "Training file",
        "base": "Base model",
        "preset": "Preset",
        "date": "Date",
        "job": "Job",
        "month": "Month",
        "state": "State on",
        "targets": "Targets met",
        "trained_on": "Trained on",
        "spent": "Cost",
        "time": "Compute time",
        "guarantee": "Guarantee",
        "support": "Support",
        "before": "Before: baseline",
        "after": "After: trained",
    }
)


def words(brand: Brand) -> dict[str, str]:
    """All headings and labels; ConfigurationError: the brand names one that there is not."""
    for key in brand.strings:
        if key not in WORDS:
            near = difflib.get_close_matches(key, WORDS, n=3, cutoff=0.4)
            raise ConfigurationError(
                f"brand file, strings.{key}: there is no such heading or label"
                + (f"; near: {', '.join(near)}" if near else ""),
                fix=f"one of: {', '.join(WORDS)}",
            )
    return {**WORDS, **brand.strings}
