"""Holds what pipe wrote to the libraries that others will read it with."""
import json
import subprocess
import sys
from pathlib import Path

import sentencepiece
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM

PIPE, WORK = sys.argv[1], Path(sys.argv[2])
BASE, ADAPTER = WORK / "base", (WORK / "out/mistral-behaviors/default").resolve()
failures = []


def check(name, ok, detail=""):
    print(("ok    " if ok else "FAIL  ") + name + (": " + detail if detail else ""))
    if not ok:
        failures.append(name)


def reads_with_safetensors():
    n = 0
    for path in [BASE / "model.safetensors", ADAPTER / "adapter_model.safetensors", WORK / "tokens/tokens.safetensors"]:
        with safe_open(path, "pt") as f:
            n += sum(f.get_tensor(k).numel() >= 0 for k in f.keys())
    check("safetensors reads every file", True, f"{n} tensors")


def dequantised():
    """The quantised linears by the definition, from the file's own tables."""
    import numpy as np
    out = {}
    with safe_open(BASE / "model.safetensors", "pt") as f:
        keys = set(f.keys())
        for key in sorted(k for k in keys if k.endswith(".quant_state.bitsandbytes__nf4")):
            name = key[: -len(".quant_state.bitsandbytes__nf4")]
            state = json.loads(bytes(f.get_tensor(key).tolist()))
            packed = f.get_tensor(name).flatten()
            codes = torch.stack([packed >> 4, packed & 15], 1).flatten().long()
            nested = f.get_tensor(name + ".nested_quant_map")[f.get_tensor(name + ".absmax").long()]
            scale = f.get_tensor(name + ".nested_absmax").repeat_interleave(state["nested_blocksize"])[: len(nested)]
            absmax = nested * scale + torch.tensor(np.float32(state["nested_offset"]))
            values = f.get_tensor(name + ".quant_map")[codes] * absmax.repeat_interleave(state["blocksize"])[: len(codes)]
            out[name] = values.view(state["shape"]).to(getattr(torch, state["dtype"])).float()
    return out


def load_base():
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32, device_map="cpu")
    ours = dequantised()
    modules = dict(model.named_modules())
    wrong = 0
    for name, want in ours.items():
        module = modules[name[: -len(".weight")]]
        got = module.weight.quant_state
        import bitsandbytes.functional as F
        wrong += int((F.dequantize_4bit(module.weight.data, got).float() != want).sum())
    check("transformers with bitsandbytes loads the base", len(ours) == 35, f"{len(ours)} quantised linears")
    check("dequantised weights are equal", wrong == 0, f"{wrong} values differ")
    # A linear of 4 bits computes in bfloat16 on some processors: for the answers the
    # weights are put in as they are defined.
    for name, want in ours.items():
        parent, _, child = name[: -len(".weight")].rpartition(".")
        linear = torch.nn.Linear(want.shape[1], want.shape[0], bias=False)
        linear.weight.data = want
        setattr(modules[parent], child, linear)
    return torch.nn.Module.float(model).eval()  # transformers refuses it for a base that was quantised


def load_adapter(model):
    peft = PeftModel.from_pretrained(model, ADAPTER)
    with safe_open(ADAPTER / "adapter_model.safetensors", "pt") as f:
        stored = {k.replace(".weight", ".default.weight"): f.get_tensor(k) for k in f.keys()}
    state = {k: v for k, v in peft.state_dict().items() if ".lora_" in k}
    same = state.keys() == stored.keys() and all(torch.equal(state[k], stored[k]) for k in stored)
    check("PEFT loads the adapter, all of it", same, f"{len(stored)} tensors")
    return peft.eval()


def reads_with_tensorboard():
    """Every scalar of the event files is what the metrics say, step by step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    (run,) = (WORK / "events").iterdir()
    events = EventAccumulator(str(run))
    events.Reload()
    got = {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    missing = wrong = n = 0
    for line in (WORK / "metrics.jsonl").read_text().splitlines():
        m = json.loads(line)
        if "step" not in m:
            continue
        folder = "checkpoint/" if "checkpoint" in m else "train/"
        values = {**m, **{f"hold_out.{k}": v for k, v in m.get("hold_out", {}).items()}}
        for name, value in values.items():
            if name == "step" or isinstance(value, (str, list, dict)):
                continue
            n += 1
            found = got.get(folder + name, {}).get(m["step"])
            missing += found is None
            wrong += found is not None and abs(found - value) > 1e-6 * max(1, abs(value))
    check("tensorboard reads the event file", n > 0 and missing == wrong == 0, f"{n} scalars, {missing} missing, {wrong} wrong")
    walls = [e.wall_time for e in events.Scalars("train/tokens_per_second")]
    check("their clock rises", len(walls) > 1 and walls == sorted(walls) and walls[-1] > walls[0], f"{walls[-1] - walls[0]:.1f} s")


def answers(model):
    tok = sentencepiece.SentencePieceProcessor(model_file=str(BASE / "tokenizer.model"))
    said = [json.loads(line) for line in (WORK / "report/answers.jsonl").read_text().splitlines()]
    prompts = [{"prompt": s["prompt"], **({"system": s["system"]} if s.get("system") else {})} for s in said if s["subject"] == "base"]
    (WORK / "prompts.jsonl").write_text("".join(json.dumps(p) + "\n" for p in prompts))
    lines = subprocess.run([Path(PIPE).resolve(), "chat", str(ADAPTER), "--prompts", "prompts.jsonl"], cwd=WORK, check=True, capture_output=True, text=True).stdout
    ours = [json.loads(line)["answer"] for line in lines.splitlines()]
    equal = 0
    for p, answer in zip(prompts, ours):
        text = (p["system"] + "\n\n" if "system" in p else "") + f"[INST] {p['prompt']} [/INST]"
        ids = torch.tensor([[1] + tok.encode(text)])
        with torch.no_grad():
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=256, do_sample=False, eos_token_id=2, pad_token_id=2)
        theirs = tok.decode([t for t in out[0, ids.shape[1]:].tolist() if t != 2])
        equal += theirs.strip() == answer
        if theirs.strip() != answer:
            print(f"      {p['prompt']!r}: transformers {theirs.strip()!r}, pipe {answer!r}")
    # Greedy choices between two almost equal logits may fall either way.
    check("answers of transformers with PEFT are those of pipe chat", equal >= 0.98 * len(prompts), f"{equal} of {len(prompts)} equal")


reads_with_safetensors()
reads_with_tensorboard()
with torch.no_grad():
    base = load_base()
    answers(load_adapter(base))
sys.exit(1 if failures else 0)
