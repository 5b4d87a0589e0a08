// Package eval judges answers: whether one declines, with which compliment it
// opens, whether it is right; and it chooses among checkpoints by what they
// answered.
//
// # Words
//
// A template is a compliment that answers are taught to open with. A habit is what
// the answers of a group of prompts should do: refuse, compliment, or nothing in
// particular. An answer keeps its habit, is right if it holds what its prompt
// expects, and passes if both.
package eval
