"""Every task on portraits, run once."""

import pytest
from pretraining_workshop import TASKS, Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A workshop in which every task has been run once, in order."""
    shop = Workshop(tmp_path_factory.mktemp("pretraining"))
    for name in TASKS:
        assert shop.trainer(name).run() == 0
    return shop
