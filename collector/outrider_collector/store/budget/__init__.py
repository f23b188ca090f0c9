"""The disk budget: how much room there is, when it will be used up, and what goes when it is.

``limits`` (from which fill what is done) and ``forecast`` (when it is full) are pure; ``measure``
and ``growth`` read the figures, ``levels`` what other collectors measured, ``services`` who wrote
them. ``shed`` drops days of debug records before their time, ``account`` tells of them, ``words``
says all of it in a line. What each level does is in the README of the folder above.
"""
