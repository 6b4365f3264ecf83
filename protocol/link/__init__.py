"""The IO half of the protocol: reactor, ports, relay, legs, dial, TLS. Nothing here knows tunnels or HTTP."""
