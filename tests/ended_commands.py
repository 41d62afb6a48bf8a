"""Check how a command ended, as the fixture ``nestvec`` of tests/cli returns it."""


def well(ended):
    """Return the output of a command without warnings as one line of text."""
    assert (ended.code, ended.err) == (0, "")
    assert max(map(len, ended.out.splitlines())) <= 80
    return " ".join(ended.out.split())


def refused(ended, message):
    """Check that a command ended with exit code 2 and one line that contains a message."""
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert message in ended.err
