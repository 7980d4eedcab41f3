"""A ball that players throw to one another: who has it picks another and sends it there, until enough were thrown.

python -m overlapped --stackless examples/stackless/relay.py
"""

import random
import sys

import stackless

PLAYERS = 200
THROWS = 20_000


class Player:
    """Waits on its channel for the ball, which tells how often it was thrown."""

    def __init__(self, number):
        self.number = number
        self.channel = stackless.channel()
        self.caught = 0
        self.tasklet = stackless.tasklet(self.play)()

    def play(self):
        for thrown in self.channel:
            self.caught += 1
            if thrown == THROWS:
                over.send(self.number)
                continue
            # Nobody throws to themselves: they would wait for ever.
            another = (self.number + chance.randrange(1, PLAYERS)) % PLAYERS
            players[another].channel.send(thrown + 1)


chance = random.Random(7)
over = stackless.channel()
players = [Player(number) for number in range(PLAYERS)]
stackless.run()

players[0].channel.send(1)
last = over.receive()
for player in players:
    player.tasklet.kill()

caught = sum(player.caught for player in players)
if caught != THROWS or any(player.tasklet.alive for player in players):
    sys.exit(f"thrown {THROWS} times and caught {caught} times")
print(f"stackless relay: {PLAYERS} players threw the ball {THROWS} times; player {last} had it last")
