// Package metrics reads what a training says of itself: JSON Lines that any stage may
// write.
package metrics

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// Metrics are what a training wrote, line by line: JSON objects with a "step" are
// points, those with a "checkpoint" (its name) are checkpoints, and one with an "end"
// says why training ended. Every other member that is a number is a value; those of
// an object inside are named with a dot: hold_out.loss.
type Metrics struct {
	Names       []string     `json:"names"` // of the points' values, in the order of the file
	Points      []Point      `json:"points"`
	Checkpoints []Checkpoint `json:"checkpoints"`
	End         string       `json:"end,omitempty"`
}

// Point is a step's values.
type Point struct {
	Step   int                `json:"step"`
	Values map[string]float64 `json:"values"`
}

// Checkpoint is a checkpoint's line.
type Checkpoint struct {
	Name   string             `json:"name"`
	Step   int                `json:"step"`
	Values map[string]float64 `json:"values"`
	Health string             `json:"health,omitempty"`
	Signs  []string           `json:"signs,omitempty"`
	Kept   bool               `json:"kept"` // it is among those handed over
}

// Parse reads metrics. Lines that are no JSON object are passed over: a
// training that was killed may have left half of one.
func Parse(b []byte) *Metrics {
	m := &Metrics{Names: []string{}, Points: []Point{}, Checkpoints: []Checkpoint{}}
	var kept []string
	for line := range bytes.Lines(b) {
		var head struct {
			Step       *float64 `json:"step"`
			Checkpoint string   `json:"checkpoint"`
			Health     string   `json:"health"`
			Signs      []string `json:"signs"`
			End        string   `json:"end"`
			Kept       []string `json:"kept"`
		}
		if json.Unmarshal(line, &head) != nil {
			continue
		}
		if head.Step == nil {
			if head.End != "" {
				m.End, kept = head.End, head.Kept
			}
			continue
		}
		names, values := numbers(line)
		delete(values, "step")
		if head.Checkpoint != "" {
			m.Checkpoints = append(m.Checkpoints, Checkpoint{Name: head.Checkpoint, Step: int(*head.Step), Values: values, Health: head.Health, Signs: head.Signs})
			continue
		}
		for _, name := range names {
			if name != "step" && !slices.Contains(m.Names, name) {
				m.Names = append(m.Names, name)
			}
		}
		m.Points = append(m.Points, Point{Step: int(*head.Step), Values: values})
	}
	for i := range m.Checkpoints {
		m.Checkpoints[i].Kept = slices.Contains(kept, m.Checkpoints[i].Name)
	}
	return m
}

// numbers returns the members of an object that are numbers, and their names in the
// order of the text.
func numbers(line []byte) ([]string, map[string]float64) {
	var names []string
	values := map[string]float64{}
	dec := json.NewDecoder(bytes.NewReader(line))
	var prefix []string // one for each object that is open, the outermost first
	name, isName := "", false
	for {
		token, err := dec.Token()
		if err != nil {
			return names, values
		}
		switch t := token.(type) {
		case json.Delim:
			switch t {
			case '{':
				outer := ""
				if name != "" {
					outer = name + "."
				}
				prefix, isName = append(prefix, outer), true
				continue
			case '[':
				if !skipList(dec) {
					return names, values
				}
			case '}':
				prefix = prefix[:len(prefix)-1]
			}
		case string:
			if isName {
				name, isName = prefix[len(prefix)-1]+t, false
				continue
			}
		case float64:
			if _, twice := values[name]; !twice {
				names = append(names, name)
			}
			values[name] = t
		}
		name, isName = "", true
	}
}

// skipList reads to the end of a list.
func skipList(dec *json.Decoder) bool {
	for depth := 1; depth > 0; {
		token, err := dec.Token()
		if err != nil {
			return false
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
	}
	return true
}

// Last returns the newest checkpoint's values, or else the last point's, with the
// number of steps as "step".
func (m *Metrics) Last() map[string]float64 {
	step, values := 0, map[string]float64{}
	if n := len(m.Points); n > 0 {
		step, values = m.Points[n-1].Step, maps.Clone(m.Points[n-1].Values)
	}
	if n := len(m.Checkpoints); n > 0 {
		values = maps.Clone(m.Checkpoints[n-1].Values)
		step = max(step, m.Checkpoints[n-1].Step)
	}
	values["step"] = float64(step)
	return values
}
