"""The writer's side of the inbox: the directory where processes leave records for their agent.

``names`` says what files are called, ``slot`` what the 64 bytes beside a segment mean, ``segment``
how a segment begins, is taken over and ends, ``writer`` how a process appends to it, ``attended``
whether an agent reads it, ``access`` why a process may not use it. The format for
writers in any language is described in ``sdk/LINE.md``.
"""
