"""The playground: watch a small network learn, in the browser.

`problems` makes the data, `settings` says what can be set, `session` trains, and `server` talks to
the page in ``static``.
"""
