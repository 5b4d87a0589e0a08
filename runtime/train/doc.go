// Package train fine-tunes a low-rank adapter on a frozen model.
//
// # Words
//
// A sample is one conversation as tokens, of which some are targets: tokens that
// the model is to learn to write. A row is supervised if the token after it is a
// target. A step is one update of the adapter, from BatchSize samples. Its samples
// are packed into micro-batches, which differ in nothing but the memory they take.
// An epoch goes once through all samples, in an order of its own; its last step
// takes what is left over. The horizon is the step at which the schedule ends.
//
// # What is a pure function
//
// Order, packing, learning rate and dropout depend on the settings, the samples and
// the step alone. So a Trainer whose State was saved after step k and restored
// goes on bit for bit as if it had never stopped, on the same tier of the same
// backend. A clock can stop a Run but shapes nothing.
//
// # Random numbers
//
// All come from SplitMix64 (Steele, Lea & Flood 2014; lora.Mix) by counters. With
// key(purpose) = Mix(Mix(Seed, purpose), n):
//
//	order of epoch n   Fisher-Yates from the end: element i changes places with
//	                   element ⌊Mix(key, i)·(i+1)/2^64⌋; purpose 0x6f72646572
//	dropout of step n  the seed of ops.Dropout; purpose 0x64726f70. A row's number
//	                   is its place among all tokens of the step
//
// # Trainer and Run
//
// Trainer makes steps. Run is the policy around them: when to stop, when to make
// checkpoints and which to keep, and whether the training is still healthy.
package train
