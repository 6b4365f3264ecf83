"""The inspector: watches the agent's traffic from the side, shows it on a local page, replays it.

Everything here observes. Traffic never waits for it, and what it can't keep up with it drops and counts.
`inspector.Inspector` is the front door.
"""
