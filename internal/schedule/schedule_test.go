package schedule

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pipe/internal/cron"
	"pipe/internal/golden"
)

func every(t *testing.T, text string) *cron.Expression {
	t.Helper()
	e, err := cron.Parse("--every", text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// plain is a job as most people have it.
func plain(t *testing.T) *Job {
	return &Job{
		Pipeline: "mistral-behaviors", Profile: "mistral-7b", Every: every(t, "17 3 1 jan-jun mon,thu"),
		Binary: "/usr/local/bin/pipe", Dir: "/home/ann/poodles", File: "/home/ann/poodles/pipelines/mistral-behaviors.yaml",
		Store: "/home/ann/poodles/.pipe", Path: "/usr/local/bin:/usr/bin:/bin", Home: "/home/ann", Root: "/home/ann/poodles",
		Inputs:    []Input{{Path: "/home/ann/poodles/data/custom_behaviors.jsonl"}, {Path: "/home/ann/poodles/base", Folder: true}, {Path: "/srv/more.jsonl"}},
		Published: []Published{{Path: "/home/ann/poodles/out/mistral-behaviors/mistral-7b", Folder: true}},
	}
}

// awkward is a job whose paths hold what formats and shells give a meaning.
func awkward(t *testing.T) *Job {
	dir := `/home/ann/it's 100% "here" $HOME`
	return &Job{
		Pipeline: "p", Profile: "default", Every: every(t, "*/30 * * * *"),
		Binary: dir + "/bin/pipe 2;x", Dir: dir, File: dir + "/sub dir/p%d&'.yaml", Store: `/srv/100%/it's "there"`, Path: `/opt/a b/bin:/usr/bin`, Home: "/home/a b",
		Root: filepath.Dir(dir), Inputs: []Input{{Path: dir + "/sub dir/x '1'.txt"}}, Published: []Published{{Path: dir + "/out $1/x.txt"}}, Source: true,
		Variables: []Variable{{Name: "HF_TOKEN", Secret: true}, {Name: "REGION", Optional: true}, {Name: "HOME"}, {Name: "CI", Optional: true}}, Tools: []string{"jq"},
	}
}

func TestFiles(t *testing.T) {
	for name, job := range map[string]*Job{"plain": plain(t), "awkward": awkward(t)} {
		for _, scheduler := range Schedulers {
			files, err := job.Files(scheduler)
			if err != nil {
				t.Errorf("%s: %v", scheduler, err)
				continue
			}
			for _, f := range files {
				first, _, _ := bytes.Cut(f.Text, []byte("\n"))
				if !bytes.HasPrefix(first, []byte("# "+f.Name+": "+Mark)) {
					t.Errorf("%s does not begin with its mark: %s", f.Name, first)
				}
				as := scheduler
				if scheduler == "systemd" {
					as = strings.TrimPrefix(filepath.Ext(f.Name), ".")
				}
				golden.Compare(t, name+"."+as+".golden", f.Text)
			}
		}
	}
}

func TestWhatASchedulerCannotBeTold(t *testing.T) {
	for _, c := range []struct {
		scheduler string
		change    func(j *Job)
		want      string
	}{
		{"systemd", func(j *Job) { j.Dir += "\nExecStart=/bin/rm" }, "control character"},
		{"gitlab", func(j *Job) { j.Inputs[0].Path += "\n" }, "control character"},
		{"cron", func(j *Job) { j.File = `/x\y.yaml` }, "backslash"},
		{"cron", func(j *Job) { j.Home = `/it's "here" ` }, "both kinds of quotes"},
		{"cron", func(j *Job) { j.Path = strings.Repeat("/a/b:", 200) }, "make it shorter"},
		{"github", func(j *Job) { j.Every = every(t, "*/4 * * * *") }, "fires after 4 minutes, GitHub starts a workflow every 5 at most"},
		{"github", func(j *Job) { j.Every = every(t, "0 3 */2 * mon") }, "read in two ways"},
		{"gitlab", func(j *Job) { j.Every = every(t, "0 3 */2 * mon") }, "read in two ways"},
		{"github", func(j *Job) { j.File = "/elsewhere/p.yaml" }, "the pipeline file /elsewhere/p.yaml is outside of the repository /home/ann/poodles"},
		{"github", func(j *Job) { j.Published[0].Path = "/srv/out" }, "the place of an output /srv/out is outside"},
		{"github", func(j *Job) { j.Inputs[0].Path = j.Root + "/${{ github.token }}" }, "would be read as a pattern"},
		{"gitlab", func(j *Job) { j.File = j.Root + "/-rf.yaml" }, "would be read as a pattern"},
		{"slurm", func(*Job) {}, `there is no scheduler "slurm" (there are systemd, cron, github, gitlab)`},
	} {
		j := plain(t)
		c.change(j)
		files, err := j.Files(c.scheduler)
		if err == nil || !strings.Contains(err.Error(), c.want) || files != nil {
			t.Errorf("%s: got %v, want %s", c.scheduler, err, c.want)
		}
	}
}

// onDisk makes the awkward job real: its program writes down how it was called.
func onDisk(t *testing.T) *Job {
	j := awkward(t)
	root := t.TempDir()
	for _, path := range []*string{&j.Binary, &j.Dir, &j.File, &j.Store, &j.Home} {
		*path = root + *path
	}
	program := "#!/bin/sh\n{ pwd; printf '%s\\n' \"$@\"; } >called\necho said; echo more >&2\n"
	for path, text := range map[string]string{j.Binary: program, j.File: ""} {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// TestSystemdReadsTheUnits: systemd's own parser finds nothing to say, and has the
// paths as they are.
func TestSystemdReadsTheUnits(t *testing.T) {
	systemd, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	j := onDisk(t)
	files, err := j.Files("systemd")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := []string{"verify", "--man=no"}
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.WriteFile(path, f.Text, 0o666); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	out, err := exec.Command(systemd, args...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	cmd := exec.Command(systemd, args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=debug") // shows the units as they were read
	shown, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	command := `/bin/sh -c "exec \"\$\$0\" \"\$\$@\"" "` + strings.NewReplacer(`"`, `\"`, `$`, `\$\$`).Replace(j.Binary) + `" run --no-wait --if-changed --quiet "` +
		strings.NewReplacer(`"`, `\"`, `$`, `\$\$`).Replace(j.File) + `"` // as systemd shows it; $$ is $ once it runs
	for _, want := range []string{
		"WorkingDirectory: " + j.Dir + "\n", "Environment: PATH=" + j.Path + "\n", "Environment: HOME=" + j.Home + "\n",
		"Environment: PIPE_STORE=" + j.Store + "\n", "EnvironmentFile: " + j.Home + "/.config/pipe/pipe-p-default.env\n",
		"Command Line: " + command + "\n",
	} {
		if !strings.Contains(string(shown), want) {
			t.Errorf("systemd does not read %s", want)
		}
	}
}

// TestShellRunsTheCrontabsCommand: what cron hands to the shell starts the program
// with its argument, in its folder, and keeps what it says.
func TestShellRunsTheCrontabsCommand(t *testing.T) {
	j := onDisk(t)
	files, err := j.Files("cron")
	if err != nil {
		t.Fatal(err)
	}
	var command, rotate string
	for line := range strings.Lines(string(files[0].Text)) {
		if rest, ok := strings.CutPrefix(line, "@reboot "); ok {
			command = rest
		}
		if rest, ok := strings.CutPrefix(line, "@daily "); ok {
			rotate = rest
		}
	}
	run := func(command string) string {
		// What cron does: % would end the command, \% is one.
		if strings.Contains(strings.ReplaceAll(command, `\%`, ""), "%") {
			t.Fatalf("%% is not escaped in %s", command)
		}
		out, err := exec.Command("/bin/sh", "-c", strings.ReplaceAll(command, `\%`, "%")).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	if out := run(command); out != "said\nmore\n" {
		t.Errorf("it said %q", out)
	}
	called, _ := os.ReadFile(filepath.Join(j.Dir, "called"))
	if want := strings.Join([]string{j.Dir, "run", "--no-wait", "--if-changed", "--quiet", j.File, ""}, "\n"); string(called) != want {
		t.Errorf("called with\n%s\nwant\n%s", called, want)
	}
	log := filepath.Join(j.Dir, j.Name()+".log")
	if b, _ := os.ReadFile(log); string(b) != "said\nmore\n" {
		t.Errorf("the log holds %q", b)
	}
	run(rotate)
	if _, err := os.Stat(log + ".1"); err == nil {
		t.Error("a small log was moved")
	}
	if err := os.Truncate(log, 2<<20); err != nil {
		t.Fatal(err)
	}
	run(rotate)
	if info, err := os.Stat(log + ".1"); err != nil || info.Size() != 2<<20 {
		t.Errorf("a large log was not moved: %v", err)
	}
}
