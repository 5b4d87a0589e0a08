package stages

import (
	"context"
	"errors"
	"io"
	"time"
)

// Input is what a kind finds at an input port. It is read-only.
type Input struct {
	// Path is a file or a folder; "" if an optional port is not connected. A
	// folder holds only the files that the port's tag names.
	Path string
	// Digest names the content: 64 hex digits.
	Digest string
	// Pending says, in a check, that what is connected has not been made yet.
	Pending bool
	// Reference is the builtin: or hf: reference as it was written, for ports with
	// the tag reference:"true"; else "".
	Reference string
}

// Env is all that a running stage sees of the world besides its inputs.
type Env struct {
	// Out is the folder of the outputs: port x is written at Out/x. Scratch is a
	// folder for anything else. Both are private to this attempt.
	Out, Scratch string
	// Device is what to compute with; Workers is how many goroutines may be busy
	// at once. Neither may change an output's bytes on one CPU tier.
	Device  Device
	Workers int
	// Log takes what a person should read; it is kept and replayed on a hit.
	Log Logger
	// Progress shows how far the stage is. It may be called at any rate.
	Progress func(Progress)
	// Attach adds a file that is kept beside the outputs and is no part of them:
	// timings, curves. An attachment named SummaryName is shown at the end of a run.
	Attach func(name string) (io.WriteCloser, error)
	// Withhold keeps the outputs from being published, and says why: a gate was not
	// passed. The outputs are committed all the same.
	Withhold func(reason string)
	// Note records how a result came about that is not a function of its inputs:
	// "stopped_by" and "tier" are known.
	Note func(name, value string)
	// Reproduce takes the program that the stage starts, so that somebody can start it
	// by hand if it fails: in the folder dir, with the variables vars, NAME=value. The
	// values of secrets go no further. It may be nil.
	Reproduce func(dir string, vars, argv []string)
	// State is where a resumable kind keeps what it could go on from; else nil.
	State State
	// Stop is closed when the run asks a resumable kind to end soon: it commits its
	// state and returns ErrStopped. A done context asks it to end at once. For other
	// kinds it is nil.
	Stop <-chan struct{}
	// Kill is closed when programs that the kind has started are to end without the time
	// that a done context leaves them. It may be nil.
	Kill <-chan struct{}
	// Vars are the environment variables that the stage declares for the programs
	// that it starts. Some are secret: a kind writes no value of them anywhere.
	Vars map[string]string
	// Mask returns a writer that hands on to w what a program says, without the
	// secrets of the run; Close writes what it held back and leaves w open. nil if
	// there are no secrets.
	Mask func(w io.Writer) io.WriteCloser
	// OnRemark takes what Advise is called with; nil has it logged as a warning.
	OnRemark func(Remark)
	// Earlier returns, in a check, an attachment of the stage's newest result, so that
	// what was measured then can be gone by; nil if there is none. It may be nil.
	Earlier func(attachment string) []byte
	// Now is the clock. Differences of its values are monotonic.
	Now func() time.Time
}

// SummaryName is the attachment that is shown at the end of a run.
const SummaryName = "summary.txt"

// Device is what a stage computes with.
type Device struct {
	// Tier asks for a CPU tier: "avx512", "avx2", "go"; "" is the best there is.
	Tier string
}

// Logger takes a message, constant, and fields as alternating names and values.
type Logger interface {
	Info(message string, fields ...any)
	Warn(message string, fields ...any)
}

// Progress is how far a stage is.
type Progress struct {
	Done, Total float64 // in Unit; Total 0 is unknown
	Unit        string  // "records", "tensors", "steps", "prompts"
	Rate        float64 // RateUnit a second; 0 is unknown
	RateUnit    string  // "tokens"; "" is Unit
	Left        time.Duration
	Text        string // what else there is to see: "loss 0.21"

	Values  []Value  // figures to follow, the same ones in every call: curves
	Samples []Sample // the last few things made, oldest first
}

// Value is a figure that a stage follows while it runs, and where it should be.
type Value struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"` // one that is not finite is not passed on
	Bands []Band  `json:"bands,omitempty"`
}

// Band is a named range of a figure.
type Band struct {
	Name string   `json:"name"`           // "healthy"
	Low  *float64 `json:"low,omitempty"`  // nil has no lower bound
	High *float64 `json:"high,omitempty"` // nil has no upper bound
	Bad  bool     `json:"bad,omitempty"`  // the figure should stay out of it
}

// Sample is something that a stage has just made, for a person to glance at.
type Sample struct {
	Of   string `json:"of,omitempty"`   // what it was made from: a prompt
	Text string `json:"text"`           // the answer
	Good bool   `json:"good"`           // as the stage judges it
	Note string `json:"note,omitempty"` // why it is not good
}

// ErrDevice is wrapped by errors that mean the machine lacks what a stage asks for.
var ErrDevice = errors.New("device is not available")

// runFunc is a kind's code behind its types.
type runFunc func(ctx context.Context, env *Env, c Call) error

// Call is what a kind is run with.
type Call struct {
	Params  any // a pointer to the kind's parameter struct
	Inputs  map[string]Input
	Outputs map[string]string // port to path below Env.Out
}

// ErrStopped is returned by a resumable kind that ended because of Env.Stop.
var ErrStopped = errors.New("stopped, to be gone on with")

// State outlives a stage that dies. It belongs to the stage's kind, version, inputs
// and all parameters but those tagged key:"stop", and is one attempt's alone.
type State interface {
	// Load returns the folder, to be read only, of the newest commit whose bytes are
	// all right, or "" if there is none.
	Load() (dir string, err error)
	// Commit replaces the state in one step: by the files of the newest commit that
	// keep names, and what write puts into dir. A crash leaves the old or the new one.
	Commit(keep []string, write func(dir string) error) error
	// Folder returns a folder that outlives a crash as it was left, for programs that
	// keep their own order in it.
	Folder() (string, error)
	// Discard has the state removed when the stage's outputs are committed: no other
	// stop condition could go on from it.
	Discard()
}

// Resumer is implemented by parameters of kinds that can go on from a State.
type Resumer interface{ Resumable() bool }

// Resumable says whether a stage with these parameters keeps a State.
func (p Params) Resumable() bool {
	r, ok := p.value.(Resumer)
	return ok && r.Resumable()
}
