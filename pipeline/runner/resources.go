package runner

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"pipe/internal/problem"
	"pipe/pipeline"
)

// Machine returns what the machine has.
func Machine() pipeline.Resources {
	gpus, _ := filepath.Glob("/dev/nvidia[0-9]*")
	return pipeline.Resources{CPU: runtime.GOMAXPROCS(0), GPU: len(gpus), Memory: totalMemory()}
}

// totalMemory is the machine's memory in bytes, or 0 where that is not known.
func totalMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 && fields[0] == "MemTotal:" {
			kb, _ := strconv.ParseInt(fields[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// total is what there is to share out in the run. More jobs than processors are what
// somebody wants whose stages wait for the network; what the file declares stands.
func (r *Runner) total() pipeline.Resources {
	total := r.Plan.Totals.Over(r.Machine)
	if r.Plan.Totals.CPU == nil {
		total.CPU = max(total.CPU, r.Jobs)
	}
	return total
}

// pool is what is free of the machine and of what the file declares.
type pool struct {
	total, free pipeline.Resources
	processors  int // of the machine: how many a stage may keep busy
	slots       int // stages that may still start
}

func newPool(total pipeline.Resources, processors, jobs int) *pool {
	if jobs <= 0 {
		jobs = total.CPU
	}
	p := &pool{total: total, free: total, processors: processors, slots: jobs}
	p.free.Named = maps.Clone(total.Named)
	return p
}

// clamp is what a stage takes at most: one that asks for more processors than
// there are gets all of them.
func (p *pool) clamp(r pipeline.Resources) pipeline.Resources {
	r.CPU = min(r.CPU, p.total.CPU)
	return r
}

// take reserves what a stage asks for. workers is how many processors it may use:
// its own, and those that would lie idle.
func (p *pool) take(r pipeline.Resources) (workers int, ok bool) {
	r = p.clamp(r)
	if p.slots == 0 || r.CPU > p.free.CPU || r.GPU > p.free.GPU || p.total.Memory > 0 && r.Memory > p.free.Memory {
		return 0, false
	}
	for name, n := range r.Named {
		if n > p.free.Named[name] {
			return 0, false
		}
	}
	workers = min(p.free.CPU, p.processors)
	p.slots--
	p.add(r, -1)
	return workers, true
}

// competes says whether what a stage asks for, a, holds back one that asks for b and waits
// for it.
func (p *pool) competes(a, b pipeline.Resources) bool {
	b = p.clamp(b)
	if a.CPU > 0 && b.CPU > p.free.CPU || a.GPU > 0 && b.GPU > p.free.GPU || a.Memory > 0 && p.total.Memory > 0 && b.Memory > p.free.Memory {
		return true
	}
	for name, n := range b.Named {
		if a.Named[name] > 0 && n > p.free.Named[name] {
			return true
		}
	}
	return false
}

func (p *pool) give(r pipeline.Resources) {
	p.slots++
	p.add(p.clamp(r), 1)
}

func (p *pool) add(r pipeline.Resources, sign int) {
	p.free.CPU += sign * r.CPU
	p.free.GPU += sign * r.GPU
	p.free.Memory += int64(sign) * r.Memory
	for name, n := range r.Named {
		p.free.Named[name] += sign * n
	}
}

// checkResources finds stages that could never start on this machine. What the file
// declares was looked at when it was resolved.
func checkResources(total pipeline.Resources, steps []*pipeline.Step) problem.List {
	var problems problem.List
	for _, s := range steps {
		at := s.At()
		if s.Resources.GPU > total.GPU {
			problems.Add(at.Find("resources.gpu").Problem("stage %q: resources.gpu: asks for %d, this machine has %d", s.Name, s.Resources.GPU, total.GPU))
		}
		if total.Memory > 0 && s.Resources.Memory > total.Memory {
			problems.Add(at.Find("resources.memory").Problem("stage %q: resources.memory: asks for %s, this machine has %s", s.Name, gib(s.Resources.Memory), gib(total.Memory)))
		}
	}
	return problems
}

func gib(bytes int64) string { return fmt.Sprintf("%.1fGiB", float64(bytes)/(1<<30)) }
