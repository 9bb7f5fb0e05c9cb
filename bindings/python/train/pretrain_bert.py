# SPDX-License-Identifier: Apache-2.0
"""Pre-train a small BERT by masked words, dense or with SS1 layers in its encoder from the start.

Models, all trained in the same way for the same time (--minutes) or number of steps (--steps):

    dense       4 layers, 256 wide, 4 heads, intermediate size 1024
    ss1-C       all linear layers of the encoder tied C-fold
    ss1-C-half  those of the upper half of the encoder

Writes OUT/MODEL: config.json, model.safetensors (f32) and result.json, all that finetune_spam.py needs. A stopped
command continues from its last checkpoint, a finished one does nothing. Several commands may run at the same time.
"""
import argparse
import contextlib
import json
import math
import pathlib
import time

import numpy
import torch

import bert
from results import write
from ss1 import model_dir
from ss1._output import output

CLS, SEP, MASK = 2, 3, 4
SPECIAL = 5  # smaller ids are never drawn
MASKED = 0.15
CHECKPOINT_SECONDS = 20


def config_of(name, vocab_size, length, **sizes):
    """Returns config.json of the named model."""
    plain = bert.config(vocab_size, max_position_embeddings=length, **sizes)
    kind, _, rest = name.partition("-")
    if kind == "dense":
        return plain
    c, _, part = rest.partition("-")
    layers = plain["num_hidden_layers"]
    return {**plain, "ss1": bert.tied_layers(plain, int(c), range(layers // 2, layers) if part == "half" else None)}


def sequences(stream, starts, length):
    """Returns rows of [CLS], the length - 2 ids from each start, [SEP]."""
    ids = stream[starts[:, None] + torch.arange(length - 2, device=stream.device)].long()
    return torch.nn.functional.pad(torch.nn.functional.pad(ids, (1, 0), value=CLS), (0, 1), value=SEP)


def mask(ids, vocab_size):
    """(ids with masks, places [B, P], the ids that were there [B, P]).

    P is 15 % of the length, the same in each sequence, so that nothing waits for the device. Of the places, 80 % become
    [MASK], 10 % a random token and 10 % stay (Devlin et al., section 3.1). Special tokens are left alone.
    """
    order = torch.rand(ids.shape, device=ids.device) + (ids < SPECIAL)
    places = order.topk(max(1, round(MASKED * ids.shape[1])), 1, largest=False).indices
    wanted = ids.gather(1, places)
    draw = torch.rand(places.shape, device=ids.device)
    new = torch.where(draw < 0.8, MASK, torch.where(draw < 0.9, torch.randint_like(wanted, SPECIAL, vocab_size), wanted))
    return ids.scatter(1, places, new), places, wanted


def autocast(device, bf16):
    return torch.autocast(device, torch.bfloat16) if bf16 else contextlib.nullcontext()


def optimizer_of(model, lr, decay):
    """AdamW; biases, norms and embeddings of positions and types do not decay."""
    groups = [[], []]
    for name, parameter in model.named_parameters():
        groups[parameter.dim() > 1 and "position" not in name and "token_type" not in name].append(parameter)
    fused = {"fused": True} if groups[0][0].is_cuda else {}
    return torch.optim.AdamW([{"params": groups[1], "weight_decay": decay}, {"params": groups[0], "weight_decay": 0.0}],
                             lr=lr, betas=(0.9, 0.98), eps=1e-6, **fused)


def learning_rate(progress, warmup):
    """Returns the factor of the largest rate: linear up for a share of the training, then linear down to 0."""
    return min(progress / warmup, (1 - progress) / (1 - warmup), 1.0) if 0 <= progress < 1 else 0.0


def evaluate(model, stream, length, batch, bf16):
    """Returns (loss, share of masked tokens guessed) on the held-out text, always with the same masks."""
    model.eval()
    device = stream.device.type
    starts = torch.arange(0, len(stream) - length, length - 2, device=stream.device)
    loss = right = count = 0.0
    with torch.no_grad(), autocast(device, bf16), torch.random.fork_rng():
        torch.manual_seed(1)
        for part in starts.split(batch):
            ids, places, wanted = mask(sequences(stream, part, length), model.config["vocab_size"])
            logits = model(ids, places=places).float()
            loss += torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum").item()
            right += (logits.argmax(2) == wanted).sum().item()
            count += wanted.numel()
    model.train()
    return loss / count, right / count


def save_checkpoint(path, model, optimizer, state):
    with output(path) as file:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), **state}, file)


def train(model, stream, options, checkpoint, log):
    """Train in place; returns {steps, tokens, seconds}."""
    device = stream.device.type
    optimizer = optimizer_of(model, options.lr, options.decay)
    step, before = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=stream.device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, before = state["step"], state["seconds"]
        log(f"continues from step {step}")
    begun = saved = time.monotonic()
    model.train()
    while True:
        seconds = before + time.monotonic() - begun
        progress = step / options.steps if options.steps else seconds / (60 * options.minutes)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = options.lr * learning_rate(progress, options.warmup)
        starts = torch.randint(len(stream) - options.length, (options.batch,), device=stream.device)
        ids, places, wanted = mask(sequences(stream, starts, options.length), model.config["vocab_size"])
        with autocast(device, options.bf16):
            logits = model(ids, places=places)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % options.log_every == 0:
            value = loss.item()
            if not math.isfinite(value):
                raise SystemExit(f"pretrain_bert.py: the loss is {value} at step {step}: try a smaller --lr")
            log(f"step {step}  loss {value:.3f}  {seconds:.0f} s")
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                save_checkpoint(checkpoint, model, optimizer, {"step": step, "seconds": seconds})
                saved = time.monotonic()
    return {"steps": step, "tokens": step * options.batch * options.length, "seconds": round(seconds, 1)}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python3 pretrain_bert.py --data build/spam/data --model ss1-4 --out build/spam/pretrained "
               "--minutes 3 --device cuda --bf16")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder written by prepare_spam.py")
    parser.add_argument("--model", required=True, help="dense, ss1-4, ss1-8, ss1-8-half, ...")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the pre-trained models")
    parser.add_argument("--minutes", type=float, default=3.0, help="time for training, if --steps is not given "
                        "(default: %(default)s)")

    def option(name, default, text):
        parser.add_argument(name, type=type(default), default=default, help=f"{text} (default: %(default)s)")
    option("--steps", 0, "steps of training; 0: --minutes decides")
    option("--batch", 128, "sequences of one step")
    option("--length", 256, "tokens of a sequence")
    option("--lr", 7e-4, "AdamW's largest step")
    option("--decay", 0.01, "AdamW's weight decay")
    option("--warmup", 0.06, "share of the training in which the step grows")
    option("--hidden", 256, "width")
    option("--layers", 4, "encoder layers")
    option("--seed", 1, "seed of weights, batches and masks")
    option("--log-every", 100, "steps between lines of the log")
    option("--device", "cpu", "PyTorch's device")
    parser.add_argument("--bf16", action="store_true", help="use bf16 by autocast")
    return parser.parse_args()


def main():
    options = arguments()
    directory = options.out / options.model

    def log(line):
        print(f"{options.model}: {line}", flush=True)

    if (directory / "result.json").exists():
        log("is already finished")
        return
    torch.manual_seed(options.seed)
    data = numpy.load(options.data / "tokens.npz")
    stream, held_out = (torch.from_numpy(data[name].astype(numpy.int32)).to(options.device)
                        for name in ("stream", "held_out"))
    vocab_size = (options.data / "vocab.txt").read_text(encoding="utf-8").count("\n")
    model = bert.BertForMaskedLM(config_of(
        options.model, vocab_size, options.length, hidden_size=options.hidden, num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.hidden // 64), intermediate_size=4 * options.hidden)).to(options.device)
    values = sum(p.numel() for p in model.bert.encoder.parameters())
    log(f"{values} values in the encoder, {sum(p.numel() for p in model.parameters())} in all, {len(stream)} tokens of text")
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / f"{options.model}.pt"
    result = train(model, stream, options, checkpoint, log)
    loss, accuracy = evaluate(model, held_out, options.length, options.batch, options.bf16)
    log(f"held-out loss {loss:.4f}, {accuracy:.1%} of the masked tokens guessed, {result}")
    model_dir.save(directory, model.config, {name: value.cpu() for name, value in model.state_dict().items()})
    settings = {name: value for name, value in vars(options).items() if name not in ("data", "out")}
    write(directory / "result.json", json.dumps({
        "values": values, "held_out_loss": loss, "held_out_accuracy": accuracy, **result, "settings": settings}, indent=1) + "\n")
    checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
