// Package lora holds low-rank adapters (Hu et al. 2021) on a backend, and reads
// and writes them as PEFT folders.
//
// # Words
//
// A linear is one of the seven matrices W (out, in) of a transformer layer, frozen
// here. An adapter adds to y = x·Wᵀ the low-rank path scale·(x·Aᵀ)·Bᵀ, with A
// (rank, in), B (out, rank) and scale = alpha/rank, or alpha/√rank with rsLoRA.
// It carries a linear of a layer if it has an A and a B for it; it need not carry
// all.
//
// # Memory
//
// All A and B of an adapter are slices of one flat buffer, and their gradients of
// another one alike, so that a norm, an update or a snapshot is one operation.
// The order is: layer by layer, in each the linears from Query to Down, of each
// first A, then B.
//
// # Files
//
// A PEFT folder holds adapter_config.json and adapter_model.safetensors, whose
// tensors are called
//
//	base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight  (rank, in)
//	base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight  (out, rank)
//
// Write gives F32, a config that PEFT, vLLM and llama.cpp read, and the same
// bytes for the same adapter everywhere. Source: PEFT 0.21 (tuners/lora,
// utils/save_and_load).
package lora
