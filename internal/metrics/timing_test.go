package metrics

import "testing"

func TestLastTimingPassesOverWhatIsNone(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Timing
	}{
		{"none", "", Timing{}},
		{"one", "{\"step\":1,\"seconds\":2.5,\"tokens_per_second\":30}\n", Timing{1, 2.5, 30}},
		{"half a line", "{\"step\":1,\"seconds\":2.5,\"tokens_per_second\":30}\n{\"step\":2,\"sec", Timing{1, 2.5, 30}},
		{"no step", "{\"step\":3,\"seconds\":1}\n{\"seconds\":9}\n", Timing{Step: 3, Seconds: 1}},
	} {
		if got := LastTiming([]byte(c.text)); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
