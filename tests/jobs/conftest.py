"""The fixtures that the tests of jobs and workers share."""

from tests.floor_fixtures import *  # noqa: F403 - fixtures
