# SPDX-License-Identifier: Apache-2.0
"""Which candidate each layer of a model takes, so that the model's output suffers least for its multiply-adds."""
import torch

from .outputs import distance, output, padding_mask


def lower_hull(points):
    """The points (cost, loss) of the lower convex hull, as indices in the order of cost: each costs more and loses less."""
    hull = []
    for i in sorted(range(len(points)), key=lambda i: points[i]):
        cost, loss = points[i]
        if hull and loss >= points[hull[-1]][1]:
            continue
        while len(hull) > 1:
            (c0, l0), (c1, l1) = points[hull[-2]], points[hull[-1]]
            if (l0 - l1) * (cost - c1) > (l1 - loss) * (c1 - c0):
                break  # the step before saves more loss for its cost than this one
            hull.pop()
        hull.append(i)
    return hull


def allocate(choices, most):
    """The index of a choice for each layer, whose costs sum to at most `most`; None if even the cheapest do not fit.

    choices: for each layer a list of (cost, loss). All layers start with their cheapest choice; then the step along a
    layer's lower convex hull that saves the most loss for its cost is taken, as long as one fits (Shoham and Gersho, 1988).
    """
    hulls, at = [lower_hull(points) for points in choices], [0] * len(choices)
    spent = sum(points[hull[0]][0] for points, hull in zip(choices, hulls))
    if spent > most:
        return None
    while True:
        best = None
        for layer, (points, hull) in enumerate(zip(choices, hulls)):
            if at[layer] + 1 == len(hull):
                continue
            (c0, l0), (c1, l1) = points[hull[at[layer]]], points[hull[at[layer] + 1]]
            if spent + c1 - c0 <= most and (best is None or (l0 - l1) / (c1 - c0) > best[0]):
                best = (l0 - l1) / (c1 - c0), layer, c1 - c0
        if best is None:
            return [hull[i] for hull, i in zip(hulls, at)]
        at[best[1]] += 1
        spent += best[2]


@torch.no_grad()
def output_losses(model, replacements, batches, forward):
    """{name: distance of the model's outputs from its own if the layer `name` alone is replaced}, over these batches.

    replacements: {name: (layer, its replacement)}. The distance is the KL divergence of logits, else the error of the outputs.
    """
    losses = dict.fromkeys(replacements, 0.0)
    for batch in batches:
        mask, (want, by_name) = padding_mask(batch), output(forward(model, batch))
        want = want.clone()
        for name, (layer, replacement) in replacements.items():
            handle = layer.register_forward_hook(lambda module, inputs, _, new=replacement: new(inputs[0]))
            try:
                losses[name] += distance(by_name, output(forward(model, batch))[0], want, mask).item() / len(batches)
            finally:
                handle.remove()
    return losses
