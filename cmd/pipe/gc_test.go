package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestCollectingTakesNothingFromRunsUnderWay has eight processes run pipelines in one
// store, again and again, while another removes all that it may. The pipelines share
// results, and go back and forth between two of each, so that what one run is about to
// use is what the collection has chosen.
func TestCollectingTakesNothingFromRunsUnderWay(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	const runners, rounds = 8, 6
	for i := range runners {
		write(t, filepath.Join(dir, fmt.Sprint(i), "p.yaml"), `pipeline: p
params: { level: 1 }
stages:
  a: { uses: command, out: [d], with: { shell: "mkdir $PIPE_OUT_D; for i in 1 2 3 4; do echo $i $PIPE_PARAM_LEVEL >$PIPE_OUT_D/$i; done; echo said", params: { level: "${params.level}" } } }
  b: { uses: command, in: { d: "${a.d}" }, out: [x], with: { shell: "cat $PIPE_IN_D/* >$PIPE_OUT_X" } }
  c: { uses: command, in: { d: "${a.d}", x: "${b.x}" }, out: [x], with: { shell: "cat $PIPE_IN_D/* $PIPE_IN_X >$PIPE_OUT_X" }, publish: { x: out.txt } }
`)
	}
	ended := make(chan struct{})
	var collector, all sync.WaitGroup
	collections := 0
	collector.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
			}
			collections++
			if out, errs, status := execute(t, dir, nil, "pipe", "gc", "--store", store, "--max-size", "1B", "--older-than", "1ms"); status != 0 {
				t.Errorf("gc: exit %d\n%s%s", status, out, errs)
				return
			}
		}
	})
	for i := range runners {
		all.Go(func() {
			for round := range rounds {
				level := (i + round) % 2
				here := filepath.Join(dir, fmt.Sprint(i))
				out, errs, status := execute(t, here, nil, "pipe", "run", "p.yaml", "--store", store, "--set", fmt.Sprintf("params.level=%d", level))
				if status != 0 || strings.Contains(out, "damaged") || strings.Contains(out, "no longer in the store") {
					t.Errorf("run %d of %d: exit %d\n%s%s", round, i, status, out, errs)
					return
				}
				once := fmt.Sprintf("1 %[1]d\n2 %[1]d\n3 %[1]d\n4 %[1]d\n", level)
				if b, err := os.ReadFile(filepath.Join(here, "out.txt")); err != nil || string(b) != once+once {
					t.Errorf("run %d of %d published %q, %v", round, i, b, err)
				}
			}
		})
	}
	all.Wait()
	close(ended)
	collector.Wait()
	if out, errs, status := execute(t, dir, nil, "pipe", "verify", "--store", store); status != 0 {
		t.Errorf("afterwards: exit %d\n%s%s", status, out, errs)
	}
	t.Logf("%d collections", collections)
	if collections < 3 {
		t.Errorf("only %d collections", collections)
	}
}
