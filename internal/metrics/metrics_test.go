package metrics

import (
	"math"
	"reflect"
	"testing"
)

const example = `{"step":1,"epoch":0.5,"loss":3.9,"note":"warm","list":[1,{"loss":7}],"nested":{"x":{"y":2},"z":3}}
{"step":2,"epoch":1,"loss":3.5}
{"checkpoint":"checkpoint-2","step":2,"epoch":1,"loss":3.7,"hold_out":{"loss":0.7,"accuracy":0.8},"health":"warming","signs":["loss low"]}
{"checkpoint":"checkpoint-3","step":3,"loss":3}
{"end":"max_steps","steps":3,"kept":["checkpoint-3"]}
{"step":4,"lo`

func TestParse(t *testing.T) {
	m := Parse([]byte(example))
	if want := []string{"epoch", "loss", "nested.x.y", "nested.z"}; !reflect.DeepEqual(m.Names, want) {
		t.Errorf("got names %v, want %v", m.Names, want)
	}
	want := []Point{{1, map[string]float64{"epoch": 0.5, "loss": 3.9, "nested.x.y": 2, "nested.z": 3}}, {2, map[string]float64{"epoch": 1, "loss": 3.5}}}
	if !reflect.DeepEqual(m.Points, want) {
		t.Errorf("got points %v, want %v", m.Points, want)
	}
	first := Checkpoint{Name: "checkpoint-2", Step: 2, Values: map[string]float64{"epoch": 1, "loss": 3.7, "hold_out.loss": 0.7, "hold_out.accuracy": 0.8}, Health: "warming", Signs: []string{"loss low"}}
	if len(m.Checkpoints) != 2 || !reflect.DeepEqual(m.Checkpoints[0], first) || !m.Checkpoints[1].Kept {
		t.Errorf("got checkpoints %+v", m.Checkpoints)
	}
	if m.End != "max_steps" || !reflect.DeepEqual(m.Last(), map[string]float64{"loss": 3, "step": 3}) {
		t.Errorf("got end %q, last %v", m.End, m.Last())
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(`{"step":1,"":{"":{"a":1}},"x":}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range Parse(b).Points {
			for name, v := range p.Values {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Errorf("%s is %v", name, v)
				}
			}
		}
	})
}
