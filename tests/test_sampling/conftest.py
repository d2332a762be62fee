"""One finished campaign for all tests that only read it."""

import multiprocessing

import campaigns
import pytest

# Workers are then forked with everything imported, instead of importing it one by one.
multiprocessing.set_forkserver_preload(["sampling.campaign"])


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Directory of a campaign run without interruption by two workers."""
    path = campaigns.write_settings(tmp_path_factory.mktemp("campaign"))
    process = campaigns.start(path)
    process.join(300)
    assert process.exitcode == 0
    return path.parent / "run"
