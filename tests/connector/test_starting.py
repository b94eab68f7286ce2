"""A command is not kept waiting for what only models need."""

import subprocess
import sys

PROGRAM = """
import sys
import connector.cli, connector.handing, connector.jobs.orders, connector.pages.dashboard, connector.sandbox.server
from scoring.libraries import SLOW
print(sorted({name.split(".")[0] for name in SLOW} & set(sys.modules)))
"""


def test_the_libraries_that_models_are_fitted_with_come_with_the_first_model() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
