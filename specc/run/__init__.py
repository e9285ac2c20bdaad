"""Objects in the kernel: loading, attaching, streaming, detaching. The only code that needs privileges.

with open_session(data, description, Options(), report) as session:
    for batch in session.poll(100): ...
"""
