//go:build unix

package faulttest

import (
	"fmt"
	"strconv"
	"strings"
)

// Case is one toy run with one thing wrong. Its String names it, and ParseCase reads
// that.
type Case struct {
	Part   string // what goes wrong: errno, kill, instant, cut, damage
	Scene  string // of errno, kill and instant: fresh, edit or hit
	Op     int    // of errno and kill: at which operation; of cut: after which change
	Errno  string // of errno: with which error
	Sticky bool   // of errno: all that follows fails, too
	Half   bool   // of errno and kill: half of a write is done
	Seed   uint64 // of instant, cut and damage: decides the rest
}

func (c Case) String() string {
	line := "part=" + c.Part
	if c.Scene != "" {
		line += " scene=" + c.Scene
	}
	if c.Op != 0 {
		line += fmt.Sprintf(" op=%d", c.Op)
	}
	if c.Errno != "" {
		line += " errno=" + c.Errno
	}
	if c.Seed != 0 {
		line += fmt.Sprintf(" seed=%d", c.Seed)
	}
	if c.Sticky {
		line += " sticky"
	}
	if c.Half {
		line += " half"
	}
	return line
}

// ParseCase reads what String wrote.
func ParseCase(line string) (Case, error) {
	var c Case
	for _, field := range strings.Fields(line) {
		name, value, _ := strings.Cut(field, "=")
		var err error
		switch name {
		case "part":
			c.Part = value
		case "scene":
			c.Scene = value
		case "op":
			c.Op, err = strconv.Atoi(value)
		case "errno":
			c.Errno = value
			if _, ok := Errnos[value]; !ok {
				err = fmt.Errorf("unknown error")
			}
		case "seed":
			c.Seed, err = strconv.ParseUint(value, 10, 64)
		case "sticky":
			c.Sticky = true
		case "half":
			c.Half = true
		default:
			err = fmt.Errorf("unknown field")
		}
		if err != nil {
			return c, fmt.Errorf("%s: %w", field, err)
		}
	}
	return c, nil
}
