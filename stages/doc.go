// Package stages is the contract between pipe and the stage kinds.
//
// A stage kind turns inputs and parameters into outputs. It is declared once, by
// Define, with three structs whose tags say everything: parameters P, input
// ports I, output ports O. From them derive strict decoding, the cache key, JSON
// Schema, documentation and the command line's help.
//
// A kind is pure: its outputs depend on parameters and inputs alone. Clocks,
// hosts, paths and rates go to attachments, progress and the log, never to an
// output. It sees only its Env; it never prints, exits or reads flags.
package stages
