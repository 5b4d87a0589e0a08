package schedule

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// systemd returns a service and the timer that starts it.
func (j *Job) systemd() ([]File, error) {
	dir := unitSpecifiers(j.Dir)
	if strings.HasSuffix(dir, " ") || strings.HasSuffix(dir, `\`) {
		dir += "/" // the end of a line loses spaces, and a backslash there goes on on the next
	}
	variables := j.variables()
	envFile := filepath.Join(j.Home, ".config", "pipe", j.Name()+".env")
	if len(variables) > 0 && strings.ContainsAny(envFile, `*?[\`) {
		return nil, fmt.Errorf("systemd: the path %q would be read as a pattern there", envFile)
	}
	optional := !slices.ContainsFunc(variables, func(v Variable) bool { return !v.Optional })
	data := map[string]any{
		"Name": j.Name(), "Pipeline": j.Pipeline, "Profile": j.Profile, "Events": j.Every.OnCalendar(),
		"Dir": dir, "Binary": j.Binary, "Flags": j.flags(), "File": j.File,
		"Variables": variables, "EnvFile": envFile, "Optional": optional,
		"Path": "PATH=" + j.Path, "Home": "HOME=" + j.Home, "Store": "PIPE_STORE=" + j.Store,
	}
	service, err := render("systemd.service", j.Name()+".service", data)
	if err != nil {
		return nil, err
	}
	timer, err := render("systemd.timer", j.Name()+".timer", data)
	return []File{service, timer}, err
}
