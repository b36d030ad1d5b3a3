"""A small network that learns two interleaved moons, and its state as a safetensors file. Standard library only.

Everything that the next step depends on is in the state, the stream of examples included: training that is cut into any
number of pieces comes to the same numbers as training in one.
"""

import json
import math
import os
import random
import struct

HIDDEN = 8
BATCH = 16
RATE = 0.05
MOMENTUM = 0.9
# Name and length of each tensor: first layer, its bias, second layer, its bias.
SHAPES = {"w1": 2 * HIDDEN, "b1": HIDDEN, "w2": HIDDEN, "b2": 1}


def fresh(seed):
    """The state before the first step."""
    chance = random.Random(seed)
    state = {"seed": seed, "step": 0, "iteration": 0}
    state["weights"] = {name: [chance.gauss(0, 0.5) for _ in range(count)] for name, count in SHAPES.items()}
    state["velocity"] = {name: [0.0] * count for name, count in SHAPES.items()}
    return state


def examples(seed, step, count):
    """The batch of a step: the same whenever it is asked for."""
    chance = random.Random(f"{seed}:{step}")
    for _ in range(count):
        label = chance.random() < 0.5
        angle = chance.uniform(0, math.pi)
        x, y = (1 - math.cos(angle), 0.5 - math.sin(angle)) if label else (math.cos(angle), math.sin(angle))
        yield x + chance.gauss(0, 0.1), y + chance.gauss(0, 0.1), float(label)


def forward(weights, x, y):
    """The hidden layer and the probability of the second moon."""
    hidden = [
        math.tanh(weights["w1"][2 * i] * x + weights["w1"][2 * i + 1] * y + weights["b1"][i]) for i in range(HIDDEN)
    ]
    z = sum(w * h for w, h in zip(weights["w2"], hidden)) + weights["b2"][0]
    return hidden, 1 / (1 + math.exp(-max(-60.0, min(60.0, z))))


def loss(state, count=400):
    """Cross-entropy on examples that no step trains on."""
    total = 0.0
    for x, y, label in examples(state["seed"], "test", count):
        _, p = forward(state["weights"], x, y)
        total -= math.log(max(1e-12, p if label else 1 - p))
    return total / count


def step(state):
    """One step of stochastic gradient descent with momentum."""
    weights = state["weights"]
    slope = {name: [0.0] * count for name, count in SHAPES.items()}
    for x, y, label in examples(state["seed"], state["step"], BATCH):
        hidden, p = forward(weights, x, y)
        error = (p - label) / BATCH
        slope["b2"][0] += error
        for i, h in enumerate(hidden):
            slope["w2"][i] += error * h
            back = error * weights["w2"][i] * (1 - h * h)
            slope["w1"][2 * i] += back * x
            slope["w1"][2 * i + 1] += back * y
            slope["b1"][i] += back
    for name, moves in state["velocity"].items():
        for i, gradient in enumerate(slope[name]):
            moves[i] = MOMENTUM * moves[i] - RATE * gradient
            weights[name][i] += moves[i]
    state["step"] += 1


def save(state, path):
    """Writes the state: an 8-byte length, a JSON header, the tensors (https://github.com/huggingface/safetensors#format)."""
    header = {"__metadata__": {name: str(state[name]) for name in ("seed", "step", "iteration")}}
    body = bytearray()
    for kind in ("weights", "velocity"):
        for name, values in state[kind].items():
            begin = len(body)
            body += struct.pack(f"<{len(values)}d", *values)
            header[f"{kind}.{name}"] = {"dtype": "F64", "shape": [len(values)], "data_offsets": [begin, len(body)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)
        file.flush()
        os.fsync(file.fileno())


def load(path):
    """Reads a state back."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        body = file.read()
    state = {name: int(value) for name, value in header.pop("__metadata__").items()}
    for name, tensor in header.items():
        kind, name = name.split(".")
        begin, end = tensor["data_offsets"]
        state.setdefault(kind, {})[name] = list(struct.unpack(f"<{(end - begin) // 8}d", body[begin:end]))
    return state
