"""The order of files. A worker takes a file at a time: a long one that is begun last leaves all others idle."""

from pathlib import Path

import pytest

#: Files that take longest, longest first (`pytest --durations=0` tells); every other one fills up what remains.
LONG = (
    *("scoring/test_market_predictors", "connector/test_platform_contract", "scoring/test_predictor_contract"),
    *("connector/test_service_stops", "connector/test_nothing_written", "connector/test_main_job"),
    *("connector/test_rescore", "connector/test_erasing", "scoring/test_eligibility", "test_deployment_serving"),
    *("connector/test_rescore_platforms", "connector/test_withhold", "connector/test_rollback"),
    *("connector/test_crashes", "connector/test_service", "connector/test_list_filters", "scoring/test_upkeep"),
    *("test_administrator_pages", "connector/test_change_discipline", "connector/test_hubspot_changes"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if lost := [name for name in LONG if not (Path(__file__).parent / f"{name}.py").exists()]:
        raise pytest.UsageError(f"tests/conftest.py orders files that are not there: {lost}")
    place = {f"tests/{name}.py": at for at, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.nodeid.split("::")[0], len(place)))
