package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestNumbersThatAreNotFiniteAreLogged(t *testing.T) {
	var b bytes.Buffer
	NewJSON(&b).Warn("loss", "value", math.NaN(), "other", float32(math.Inf(-1)), "cause", errors.New("why"))
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("got %q: %v", b.String(), err)
	}
	if line["value"] != "NaN" || line["other"] != "-Inf" || line["cause"] != "why" {
		t.Errorf("got %v", line)
	}
}

func TestMessageCannotForgeALine(t *testing.T) {
	var b bytes.Buffer
	New(&b).Info("one\n[ERROR] two", "field", "three\n[ERROR] four")
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		if strings.HasPrefix(line, "[ERROR]") {
			t.Errorf("forged: %q", b.String())
		}
	}
}
