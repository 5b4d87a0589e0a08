package drawing

import (
	"fmt"
	"strings"
)

// detail is a node's second line: its state and how long its result took or, where
// nobody looked, what it makes.
func (n Node) detail() string {
	var parts []string
	if n.State == "" {
		if n.Kind != n.Stage {
			parts = append(parts, n.Kind)
		}
		if len(n.Outputs) > 0 {
			var ports []string
			for _, o := range n.Outputs {
				ports = append(ports, o.Port)
			}
			parts = append(parts, "→ "+strings.Join(ports, ", "))
		}
		return strings.Join(parts, " ")
	}
	parts = append(parts, n.State)
	switch {
	case n.Last != nil && n.Last.Outcome == "failed" && n.State != "cached":
		parts = append(parts, "failed last")
	case n.Made != nil && n.State == "cached":
		parts = append(parts, took(n.Made.Seconds))
	case n.Made != nil:
		parts = append(parts, took(n.Made.Seconds)+" last")
	}
	return strings.Join(parts, " · ")
}

// tooltip is all that is known of a node, in lines.
func (n Node) tooltip() string {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, plain(fmt.Sprintf(format, args...))) }
	add("%s (%s)", n.Stage, n.Kind)
	if n.State != "" {
		add("%s: %s", n.State, n.Why)
	}
	if n.Made != nil {
		add("made in %s on %s", took(n.Made.Seconds), n.Made.Time.Format("2006-01-02 15:04:05"))
	}
	if n.Last != nil {
		add("last: %s in run %s", n.Last.Outcome, n.Last.Run)
	}
	for _, s := range n.Sources {
		add("reads %s: %s", s.Port, s.Source)
	}
	for _, o := range n.Outputs {
		if o.Digest == "" {
			add("makes %s", o.Port)
		} else {
			add("makes %s: %s", o.Port, bytes(o.Size))
		}
	}
	for _, p := range n.Publish {
		add("publishes %s at %s", p.Port, p.To)
	}
	return strings.Join(lines, "\n")
}

// bytes is a size for people: 512 bytes, 2.9 MB.
func bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB"} {
		if v /= 1000; v < 999.5 {
			return fmt.Sprintf("%.3g %s", v, unit)
		}
	}
	return fmt.Sprintf("%.3g TB", v/1000)
}
