"""What may hang."""

import threading

__all__ = ["within_seconds"]


def within_seconds(function, seconds=20):
    """Call a function that must not hang; return its error, if any."""
    outcome = []

    def call():
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # reported to the caller
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    return outcome[0]
