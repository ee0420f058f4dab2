"""Numbers as device files hold them."""

from __future__ import annotations

from msgspec import structs

from common.schema import Table

SIGNIFICANT_DIGITS = 6


def written(table: Table) -> dict[str, float]:
    """A table of numbers as a file holds it: rounded, without those that are their defaults."""
    defaults = {field.encode_name: field.default for field in structs.fields(table)}
    values = structs.asdict(table)
    return rounded({name: value for name, value in values.items() if value != defaults[name]})


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Keep `SIGNIFICANT_DIGITS` of what is no truth value."""
    return {
        key: value if isinstance(value, bool) else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
        for key, value in values.items()
    }
