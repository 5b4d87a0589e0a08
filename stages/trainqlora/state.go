package trainqlora

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pipe/internal/metrics"
	"pipe/runtime/safetensors"
	"pipe/runtime/train"
)

// saveEvery is how much work a killed training may lose, at most.
const saveEvery = 30 * time.Second

// What a saved state holds, beside the folders of the checkpoints.
const (
	stateWeights  = "trainer.safetensors" // the adapter's parameters and AdamW's moments
	stateProgress = "progress.json"
	stateMetrics  = "metrics.jsonl"
	stateTiming   = metrics.TimingName
)

// stateForm is raised when a state of the version before would be misread.
const stateForm = 1

// savedProgress is progress.json.
type savedProgress struct {
	Form  int            `json:"form"` // of the state; another one is not gone on from
	Step  int            `json:"step"`
	Tier  string         `json:"tier"`            // of the CPU that computed the last step
	Tiers string         `json:"tiers,omitempty"` // all there were, joined by +, if several
	Train train.Progress `json:"train"`

	TimeBudget time.Duration `json:"time_budget"` // under which it was saved; 0 is none
}

// Resumable says that a training can be gone on with.
func (*Params) Resumable() bool { return true }

// save commits everything that the training could go on from.
func (s *session) save(p train.Progress) error {
	if s.env.State == nil || s.apart {
		return nil
	}
	state, err := s.trainer.State()
	if err != nil {
		return err
	}
	var keep []string
	inState := map[string][]string{}
	for _, c := range p.Checkpoints {
		if files, ok := s.inState[name(c)]; ok {
			keep = append(keep, files...)
			inState[name(c)] = files
		}
	}
	err = s.env.State.Commit(keep, func(dir string) error {
		for _, c := range p.Checkpoints {
			if _, ok := inState[name(c)]; ok {
				continue
			}
			files, err := linkFolder(filepath.Join(s.dir, name(c)), filepath.Join(dir, name(c)))
			if err != nil {
				return err
			}
			for i := range files {
				files[i] = name(c) + "/" + files[i]
			}
			inState[name(c)] = files
		}
		return s.writeState(dir, state, p)
	})
	if err == nil {
		s.inState = inState
	}
	return err
}

func (s *session) writeState(dir string, state train.State, p train.Progress) error {
	var tensors []safetensors.Tensor
	for name, values := range map[string][]float32{"params": state.Params, "moments1": state.Moments1, "moments2": state.Moments2} {
		tensors = append(tensors, safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: []int{len(values)}, Data: safetensors.AppendFloat32s(nil, safetensors.F32, values)})
	}
	if err := safetensors.WriteFile(filepath.Join(dir, stateWeights), tensors, nil); err != nil {
		return err
	}
	b, err := json.Marshal(savedProgress{Form: stateForm, Step: state.Step, Tier: s.tier, Tiers: s.tiers, Train: p, TimeBudget: s.params.TimeBudget})
	if err != nil {
		return err
	}
	lines, err := os.ReadFile(s.metrics.Name())
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, stateProgress), b, 0o666),
		os.WriteFile(filepath.Join(dir, stateMetrics), lines, 0o666),
		os.WriteFile(filepath.Join(dir, stateTiming), s.times.Bytes(), 0o666))
}

// restore takes over what an earlier attempt saved, if it saved anything that this
// one may go on from: the trainer's state, checkpoints, metrics and timing.
func (s *session) restore() (before train.Progress, err error) {
	if s.env.State == nil {
		return before, nil
	}
	dir, err := s.env.State.Load()
	if err != nil || dir == "" {
		return before, err
	}
	var saved savedProgress
	b, err := os.ReadFile(filepath.Join(dir, stateProgress))
	if err == nil {
		err = json.Unmarshal(b, &saved)
	}
	if err != nil {
		return before, err
	}
	if saved.Form != stateForm {
		s.env.Log.Warn("training starts again: its saved state is of another release", "saved at step", saved.Step)
		return before, nil
	}
	if beyond := s.beyond(saved); beyond != "" {
		s.apart = true
		s.env.Log.Info("training starts at the beginning, and leaves the saved state as it is: it is "+beyond, "saved at step", saved.Step)
		return before, nil
	}
	if saved.Tier != s.tier && !s.params.AllowTierChange {
		s.env.Log.Warn("training starts again: its saved state is of another CPU tier, which rounds otherwise", "saved at step", saved.Step, "tier", saved.Tier, "tier here", s.tier)
		return before, nil
	}
	if err := s.restoreTrainer(dir, saved.Step); err != nil {
		return before, err
	}
	s.joinTiers(saved)
	for _, c := range saved.Train.Checkpoints {
		files, err := linkFolder(filepath.Join(dir, name(c)), filepath.Join(s.dir, name(c)))
		if err != nil {
			return before, err
		}
		for i := range files {
			files[i] = name(c) + "/" + files[i]
		}
		s.inState[name(c)] = files
	}
	lines, err1 := os.ReadFile(filepath.Join(dir, stateMetrics))
	times, err2 := os.ReadFile(filepath.Join(dir, stateTiming))
	if err := errors.Join(err1, err2); err != nil {
		return before, err
	}
	_, err1 = s.metrics.Write(lines)
	s.time(times)
	s.spent = saved.Train.Spent
	s.env.Log.Info("going on with the training that was interrupted", "step", saved.Step, "time spent", saved.Train.Spent.Round(time.Millisecond))
	return saved.Train, err1
}

// beyond says in what a state lies behind the end of this training, "" if it does not.
// A training that a clock ended has spent a little more than its own budget.
func (s *session) beyond(saved savedProgress) string {
	steps, budget := s.params.MaxSteps, s.params.TimeBudget
	switch {
	case steps > 0 && saved.Step > steps:
		return fmt.Sprintf("beyond max_steps %d", steps)
	case budget > 0 && saved.Train.Spent > budget && (saved.TimeBudget == 0 || saved.TimeBudget > budget):
		return fmt.Sprintf("beyond time_budget %s", budget)
	}
	return ""
}

func (s *session) restoreTrainer(dir string, step int) error {
	f, err := safetensors.Open(filepath.Join(dir, stateWeights))
	if err != nil {
		return err
	}
	defer f.Close()
	state := train.State{Step: step}
	for name, values := range map[string]*[]float32{"params": &state.Params, "moments1": &state.Moments1, "moments2": &state.Moments2} {
		if *values, err = f.Float32s(name); err != nil {
			return err
		}
	}
	return s.trainer.Restore(state)
}

// joinTiers notes that a result was computed on more than one tier.
func (s *session) joinTiers(saved savedProgress) {
	s.tiers = saved.Tiers
	if saved.Tier != s.tier {
		if s.tiers == "" {
			s.tiers = saved.Tier
		}
		s.tiers += "+" + s.tier
		s.env.Log.Warn("going on with the state of another CPU tier: the result is not that of either alone", "tier", saved.Tier, "tier here", s.tier)
	}
	if s.tiers != "" {
		s.env.Note("tier", s.tiers)
	}
}

// linkFolder makes the folder to, with the files of the folder from, which nobody
// changes any more, and returns their names.
func linkFolder(from, to string) ([]string, error) {
	entries, err := os.ReadDir(from)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(to, 0o777); err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		src, dst := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if os.Link(src, dst) != nil {
			b, err := os.ReadFile(src)
			if err == nil {
				err = os.WriteFile(dst, b, 0o666)
			}
			if err != nil {
				return nil, err
			}
		}
		names = append(names, e.Name())
	}
	return names, nil
}

// time adds lines to the timing attachment, and keeps them for the state.
func (s *session) time(lines []byte) {
	s.times.Write(lines)
	s.timing.Write(lines) // a full disk shows in the next write that can report it
}

// stepTime is a line of the timing attachment.
func (s *session) stepTime(r train.Report) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"step\":%d,\"seconds\":%.3f,\"tokens_per_second\":%.1f}\n", r.Step, (s.spent + s.env.Now().Sub(s.started)).Seconds(), r.TokensPerSecond)
	return b.Bytes()
}
