"""Faults of the network: three parties, two servers, and for each link every way in which it can be bad."""


def poison(party, which, kind, stream, **attributes):
    def act(c):
        node = getattr(c, which)
        chosen = {key: value(c.random) if callable(value) else value for key, value in attributes.items()}
        streams = ("upstream", "downstream") if stream == "both" else (stream,)
        for one in streams:
            c.pair.network.poison(party, node, kind, one, **chosen)
        return c.pair.network.heal

    return act


def cut(party, which):
    def act(c):
        c.pair.network.cut(party, getattr(c, which))
        return c.pair.network.heal

    return act


LINKS = (("agent", "old"), ("agent", "new"), ("clients", "old"), ("clients", "new"), ("stream", "old"))
TOXICS = (
    ("black hole", "nothing gets through, either way", ("timeout", "both"), {"timeout": 0}),
    ("black hole there", "requests are lost", ("timeout", "upstream"), {"timeout": 0}),
    ("black hole back", "answers are lost", ("timeout", "downstream"), {"timeout": 0}),
    ("reset", "connections are reset", ("reset_peer", "downstream"), {"timeout": 0}),
    ("delay", "1 to 500 ms each way", ("latency", "both"), {"latency": lambda random: random.randint(1, 500)}),
    ("bandwidth", "1 to 50 kB/s", ("bandwidth", "both"), {"rate": lambda random: random.randint(1, 50)}),
)
