"""The operator's view: what a server does, in numbers and lists, and the few things an operator may change while it runs.

`operator` is the heart: everything that can be asked or done, as calls. `api` puts HTTP around it, `metrics` the text that
Prometheus reads. Off unless `-adminAddr` names a loopback address. It observes the edge; nothing on a request's path waits
for it.
"""
