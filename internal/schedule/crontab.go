package schedule

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
)

// longestLine is where Debian's cron cuts a line (MAX_COMMAND and MAX_ENVSTR in its
// cron.h), without the end of the line.
const longestLine = 998

// crontab returns the lines for a user's crontab.
func (j *Job) crontab() ([]File, error) {
	for _, text := range []string{j.Binary, j.Dir, j.File} {
		if strings.Contains(text, `\`) {
			return nil, fmt.Errorf("cron: %q: crons read a backslash in different ways", text)
		}
	}
	var variables []string
	for _, v := range []struct{ name, value string }{{"PATH", j.Path}, {"HOME", j.Home}, {"PIPE_STORE", j.Store}} {
		text, err := cronValue(v.value)
		if err != nil {
			return nil, fmt.Errorf("cron: %s: %w", v.name, err)
		}
		variables = append(variables, v.name+"="+text)
	}
	log := filepath.Join(j.Dir, j.Name()+".log")
	command := fmt.Sprintf("cd %s && %s %s %s 2>&1 | tee -a %s", shellQuote(j.Dir), shellQuote(j.Binary), j.flags(), shellQuote(j.File), shellQuote(log))
	rotate := fmt.Sprintf("find %s -maxdepth 1 -name %s -size +1024k -exec mv -f %s %s ';'", shellQuote(j.Dir), filepath.Base(log), shellQuote(log), shellQuote(log+".1"))
	f, err := render("crontab", j.Name()+".crontab", map[string]any{
		"Name": j.Name(), "Pipeline": j.Pipeline, "Profile": j.Profile, "Every": j.Every.String(), "Log": log,
		"Variables": variables, "Declared": j.variables(), "Command": cronCommand(command), "Rotate": cronCommand(rotate),
	})
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(f.Text) {
		if len(line) > longestLine && line[0] != '#' {
			name, _, _ := bytes.Cut(line, []byte("="))
			return nil, fmt.Errorf("cron: the line of %.20s… has %d bytes, cron cuts it at %d; make it shorter: PATH=/usr/bin:/bin pipe schedule …", name, len(line), longestLine)
		}
	}
	return []File{f}, nil
}

// cronCommand writes a command for a crontab, where % ends it.
func cronCommand(command string) string { return strings.ReplaceAll(command, "%", `\%`) }

// cronValue writes the value of a variable for a crontab: in quotes, which end at the
// next one of their kind. A value with both kinds stands without, where blanks around
// it would be lost.
func cronValue(value string) (string, error) {
	switch {
	case !strings.Contains(value, `"`):
		return `"` + value + `"`, nil
	case !strings.Contains(value, "'"):
		return "'" + value + "'", nil
	case strings.TrimSpace(value) != value || strings.ContainsAny(value[:1], `"'`):
		return "", fmt.Errorf("%q: a crontab cannot hold both kinds of quotes with blanks or quotes at the ends", value)
	}
	return value, nil
}
