"""The test suite; a package, so that tests can say ``from tests import reference``."""
