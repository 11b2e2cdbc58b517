"""A package, so that pytest closes what the tests of this folder share when they are done."""
