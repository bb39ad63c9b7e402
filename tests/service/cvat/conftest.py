"""The fixtures that the tests of both annotation tools share."""

from tests.service.annotation_tools import *  # noqa: F403 - fixtures
