# SPDX-License-Identifier: Apache-2.0
"""Training of a converted model on the outputs of its original."""
import torch

from .convert import call, dense_weight, is_conv1d, watched
from .linear import Linear
from .outputs import distance, output, padding_mask


def _pairs(student, teacher):
    """[(layer of the student, layer of the teacher)] of equal names, where the student's is converted."""
    originals, pairs = dict(teacher.named_modules()), []
    for name, layer in student.named_modules():
        original = originals.get(name)
        if isinstance(layer, Linear) and (isinstance(original, torch.nn.Linear) or is_conv1d(original)):
            if tuple(dense_weight(original).shape) != (layer.out_features, layer.in_features):
                raise ValueError(f"{name}: the teacher's layer has weight {tuple(dense_weight(original).shape)}, the student's "
                                 f"{(layer.out_features, layer.in_features)}")
            pairs.append((layer, original))
    return pairs


def _recorder(seen, layer):
    def hook(module, inputs, output):
        seen.append((layer, inputs[0].clone(), output.clone()))  # what follows may write into them
    return hook


def _forever(loader):
    while True:
        empty = True
        for batch in loader:
            empty = False
            yield batch
        if empty:
            raise ValueError("loader: has no batch, or is an iterator that has ended; give a list or a DataLoader")


def finetune(student, teacher, loader, steps, *, loss=None, layers=1.0, lr=1e-3, seed=0, forward=call, progress=None):
    """Train the student, in place, to give the teacher's outputs; returns the loss of each step.

    The loss of a step is that of the outputs plus `layers` times the mean, over converted layers, of the error of each layer
    on the teacher's inputs. loss: "kl" for logits, "mse" for hidden outputs, "none" for layers alone; None: as the output's
    name tells (.logits, .last_hidden_state). loader is read again when it ends. AdamW, whose rate falls from lr to 0 as a
    cosine. Every parameter of the student that requires a gradient is trained; the student keeps its mode (train or eval:
    dropout), the teacher runs in eval mode. The same seed, batches and machine give the same model; torch's own random state is
    left as it was. progress(step, loss) is called after each step.
    """
    if loss not in (None, "kl", "mse", "none"):
        raise ValueError(f"loss={loss!r} is none of 'kl', 'mse', 'none'")
    if steps < 1:
        raise ValueError(f"steps={steps} must be at least 1")
    pairs = _pairs(student, teacher)
    if not pairs and (layers or loss == "none"):
        raise ValueError("the student has no converted layer whose original is in the teacher; with layers=0 outputs alone count")
    if loss == "none" and not layers:
        raise ValueError("loss='none' and layers=0 leave nothing to train for")
    seen = []
    handles = [original.register_forward_hook(_recorder(seen, layer)) for layer, original in pairs] if layers else []
    parameters = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    history, devices = [], sorted({p.device.index for p in parameters if p.is_cuda})
    with watched(teacher, handles), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for step, batch in zip(range(1, steps + 1), _forever(loader)):
            total = _step_loss(student, teacher, batch, loss, layers, seen, forward)
            optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            history.append(total.item())
            if progress:
                progress(step, history[-1])
    return history


def _step_loss(student, teacher, batch, loss, layers, seen, forward):
    mask = padding_mask(batch)
    seen.clear()
    with torch.no_grad():
        want, by_name = output(forward(teacher, batch))
    loss = loss or by_name
    if loss is None:
        raise ValueError("loss: must be given, the model's output is a tensor without a name: 'kl' for logits, 'mse' for hidden outputs")
    total = torch.zeros((), device=want.device)
    if loss != "none":
        total = total + distance(loss, output(forward(student, batch))[0], want, mask)
    if layers:
        errors = [distance("mse", layer(x), y, mask) for layer, x, y in seen]
        total = total + layers * sum(errors) / len(errors)
    seen.clear()
    return total
