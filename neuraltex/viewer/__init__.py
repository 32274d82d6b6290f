"""The viewer: a trained run comes in; a page in the browser shows it from wherever its user looks.

`server` serves the page, `panels` are its controls; `painter` makes pictures out of views, `schedule` says which one
and how large, so that they keep up with the hand.
"""
